"""Proving once more who one is, in a session that one has (ASVS V7.2.4, V7.5.3; RFC 9470).

A new session takes the old one's place, so that a token stolen before it is good for nothing after it: access tokens
name their session and nothing newer, and every process already hears within a second that a session has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.identity.contract import NoSecondFactor
from fortress.domains.identity.models import EndedBy, Purpose
from fortress.domains.identity.repository import Account, AccountLock, AuthenticatorRepository, SessionRepository, UserRepository
from fortress.domains.identity.service.assertions import Assertions
from fortress.domains.identity.service.ceremonies import Ceremonies, KnownCredential
from fortress.domains.identity.service.challenges import Challenges
from fortress.domains.identity.service.factors import wrong_code
from fortress.domains.identity.service.guesses import PasswordGuesses
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.passkeys import wrong_credential
from fortress.domains.identity.service.questions import PasskeyQuestion
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.identity.service.second_step import UsedCodes
from fortress.domains.identity.service.starting import Device, SessionStarter
from fortress.errors import Invalid, Refusal
from fortress.security import SYSTEM, Principal
from fortress.security.permissions import FACTORS
from fortress.security.proof import SecondFactorRequired
from fortress.security.refusals import InvalidToken


class ReauthenticationService:
    """Who is signed in, and proves it anew."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        accounts: AccountLock,
        sessions: SessionRepository,
        authenticators: AuthenticatorRepository,
        challenges: Challenges,
        codes: UsedCodes,
        assertions: Assertions,
        ceremonies: Ceremonies,
        starter: SessionStarter,
        guesses: PasswordGuesses,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._users = users
        self._accounts = accounts
        self._sessions = sessions
        self._authenticators = authenticators
        self._challenges = challenges
        self._codes = codes
        self._assertions = assertions
        self._ceremonies = ceremonies
        self._starter = starter
        self._guesses = guesses
        self._revocations = revocations
        self._clock = clock

    async def by_password(self, password: str, caller: Principal, device: Device) -> TokenPair:
        """A pair of a fresh session, for people without a second factor: a password proves too little of those who have one.

        Raises:
            Invalid: it is not their password.
            SecondFactorRequired: they have a second factor; with that they prove it.
            TooManyRequests: too many wrong passwords, here or at the sign-in.
        """
        reader = self._database.reader(SYSTEM)
        if (await self._authenticators.standing(reader, user=caller.id, now=self._clock.now())).methods:
            raise SecondFactorRequired
        user = await self._users.by_id(reader, id=caller.id)
        try:
            password_hash = await self._guesses.prove(user, password, device, "/password")
        except Invalid:
            async with self._database.unit(caller) as unit:
                unit.audit("auth.reauthentication_failed", target=caller.id)
            raise
        async with self._database.unit(caller) as unit:
            await self._accounts.held(unit, id=caller.id)
            renewed = await self._renewed(unit, Account(user.id, password_hash, user.status), caller, device, caller.factors)
        return _given(renewed)

    async def by_code(self, code: str, caller: Principal, device: Device) -> TokenPair:
        """A pair of a fresh session of two factors, for a code of the app or a recovery code.

        Raises:
            Invalid: it is not right, or was used.
            TooManyRequests: codes of the app were guessed too often.
        """
        async with self._database.unit(caller) as unit:
            account = await self._accounts.held(unit, id=caller.id)
            checked = await self._codes.use(unit, account, code)
            renewed: TokenPair | Refusal = checked.refusal(wrong_code())
            if checked.kind is not None:
                renewed = await self._renewed(unit, account, caller, device, FACTORS)
        return _given(renewed)

    async def passkey_question(self, caller: Principal) -> PasskeyQuestion:
        """A challenge for the caller's passkeys, in this session.

        Raises:
            NoSecondFactor: there are none.
        """
        known = await self._assertions.credentials_of(caller.id)
        if not known:
            raise NoSecondFactor
        async with self._database.unit(caller) as unit:
            challenge = await self._challenges.ask(unit, Purpose.PASSKEY_PROOF, caller.id, within=caller.session)
        described = [KnownCredential(one.credential_id, one.transports) for one in known]
        return PasskeyQuestion(challenge, await self._ceremonies.request(challenge, described))

    async def by_passkey(self, token: str, credential: Mapping[str, Any], caller: Principal, device: Device) -> TokenPair:
        """A pair of a fresh session of two factors, for a passkey's answer.

        Raises:
            Invalid: whatever is wrong with it.
        """
        async with self._database.unit(caller) as unit:
            challenge = await self._challenges.take(unit, token, Purpose.PASSKEY_PROOF)
        theirs = challenge is not None and (challenge.user_id, challenge.within) == (caller.id, caller.session)
        proved = await self._assertions.proved(credential, token, challenge) if theirs else None
        async with self._database.unit(caller) as unit:
            account = await self._accounts.held(unit, id=caller.id)
            renewed: TokenPair | Refusal = wrong_credential()
            if proved is not None and await self._assertions.count(unit, proved):
                renewed = await self._renewed(unit, account, caller, device, FACTORS)
            else:
                unit.audit("auth.reauthentication_failed", target=caller.id)
        return _given(renewed)

    async def _renewed(self, unit: Unit, account: Account, caller: Principal, device: Device, factors: int) -> TokenPair | Refusal:
        """End the caller's session and begin the next one of theirs."""
        now = self._clock.now()
        ended = caller.session is not None and await self._sessions.end(
            unit, id=caller.session, user=caller.id, now=now, ended_by=EndedBy.PROVED_ANEW
        )
        if not ended or caller.session is None:
            return InvalidToken()
        unit.audit("auth.reauthenticated", target=caller.session, detail={"factors": factors})
        self._revocations.session(unit, caller.session)
        begun = await self._starter.within(unit, account, device, factors=factors)
        return InvalidToken() if begun is None else begun


def _given(renewed: TokenPair | Refusal) -> TokenPair:
    if isinstance(renewed, Refusal):
        raise renewed
    return renewed
