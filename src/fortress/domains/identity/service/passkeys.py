"""Passkeys of one's own, and signing in with them alone (WebAuthn Level 3)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.domains.identity.contract import InvalidPasskey, TooManyPasskeys, UnknownPasskey
from fortress.domains.identity.models import Challenge, Passkey, Purpose
from fortress.domains.identity.repository import MOST_PASSKEYS, AccountLock, PasskeyRepository, UserRepository
from fortress.domains.identity.service import factor_letters as letters
from fortress.domains.identity.service.assertions import Assertions
from fortress.domains.identity.service.ceremonies import (
    Ceremonies,
    KnownCredential,
    NewCredential,
    Refused,
    WhoIsAsked,
    challenge_in,
)
from fortress.domains.identity.service.challenges import Challenges
from fortress.domains.identity.service.factors import FactorKeeper
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.questions import PasskeyQuestion
from fortress.domains.identity.service.starting import BEARER, Device, SessionStarter
from fortress.domains.identity.service.ways_in import WaysIn
from fortress.domains.notifications.contract import Notifications
from fortress.errors import FieldError, Invalid
from fortress.mail import NOTHING
from fortress.security import Principal
from fortress.security.permissions import FACTORS

KIND: Final = "passkey"
_HANDLE_BYTES: Final = 32


class PasskeyService:
    """One's own passkeys."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        passkeys: PasskeyRepository,
        challenges: Challenges,
        ceremonies: Ceremonies,
        keeper: FactorKeeper,
        ways_in: WaysIn,
        notices: Notifications,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._passkeys = passkeys
        self._challenges = challenges
        self._ceremonies = ceremonies
        self._keeper = keeper
        self._ways_in = ways_in
        self._notices = notices
        self._clock = clock
        self._ids = ids

    async def question(self, caller: Principal) -> PasskeyQuestion:
        """What a device is asked to make a new passkey with.

        Raises:
            TooManyPasskeys: there are enough.
            SecondFactorRequired: they have a second factor, and this session is without it.
        """
        async with self._database.unit(caller) as unit:
            await self._keeper.hold(unit, caller)
            user = await self._users.by_id(unit, id=caller.id)
            known = await self._passkeys.of_user(unit, user=caller.id)
            if len(known) >= MOST_PASSKEYS:
                raise TooManyPasskeys
            handle = known[0].handle if known else secrets.token_bytes(_HANDLE_BYTES)
            challenge = await self._challenges.ask(unit, Purpose.PASSKEY_NEW, caller.id, within=caller.session, handle=handle)
        asked = WhoIsAsked(handle, user.email, user.name or user.email)
        described = [KnownCredential(one.credential_id, one.transports) for one in known]
        return PasskeyQuestion(challenge, await self._ceremonies.creation(asked, challenge, described))

    async def add(self, name: str, credential: Mapping[str, Any], caller: Principal) -> tuple[Passkey, list[str]]:
        """A passkey that a device has made for the caller's question.

        Returns:
            The passkey, and recovery codes, shown this once; none when there were some already.

        Raises:
            Invalid: the credential is no answer to a question of this session.
            PasskeyTaken: somebody has it already.
            TooManyPasskeys: there are enough.
        """
        handle, made = await self._made(credential, caller)
        passkey = draft(self._ids.new(), caller.id, name, handle, made, self._clock.now())
        async with self._database.unit(caller) as unit:
            before = await self._keeper.hold(unit, caller)
            if len(await self._passkeys.owned(unit, user=caller.id)) >= MOST_PASSKEYS:
                raise TooManyPasskeys
            await self._passkeys.add(unit, passkey)
            unit.audit("passkeys.added", target=passkey.id)
            codes = await self._keeper.added(unit, caller, KIND, before)
            await self._notices.tell(unit, caller.id, letters.PASSKEY_ADDED, NOTHING)
        return passkey, codes

    async def all_of(self, caller: Principal) -> list[Passkey]:
        """The caller's own, oldest first."""
        return await self._passkeys.of_user(self._database.reader(caller), user=caller.id)

    async def read(self, id: UUID, caller: Principal) -> Passkey:
        """One of the caller's own, or UnknownPasskey."""
        passkey = await self._passkeys.by_id.maybe(self._database.reader(caller), id=id, user=caller.id)
        if passkey is None:
            raise UnknownPasskey
        return passkey

    async def rename(self, id: UUID, name: str, caller: Principal) -> Passkey:
        """Call a passkey something else.

        Raises:
            UnknownPasskey: it is not there, or not the caller's.
            StaleVersion: it was used at this moment.
        """
        async with self._database.unit(caller) as unit:
            passkey = await self._passkeys.by_id.maybe(unit, id=id, user=caller.id)
            if passkey is None:
                raise UnknownPasskey
            renamed = await self._passkeys.save(unit, msgspec.structs.replace(passkey, name=name))
            unit.audit("passkeys.renamed", target=id)
        return renamed

    async def remove(self, id: UUID, caller: Principal) -> None:
        """Let nobody sign in with this passkey any more; every other session ends.

        Raises:
            UnknownPasskey: it is not there, or not the caller's.
            LastWayIn: they could not sign in any more.
        """
        async with self._database.unit(caller) as unit:
            await self._keeper.hold(unit, caller)
            if not await self._passkeys.drop(unit, id=id, user=caller.id):
                raise UnknownPasskey
            await self._ways_in.require(unit, caller.id)
            unit.audit("passkeys.removed", target=id)
            await self._keeper.removed(unit, caller, KIND)
            await self._notices.tell(unit, caller.id, letters.PASSKEY_REMOVED, NOTHING)

    async def _made(self, credential: Mapping[str, Any], caller: Principal) -> tuple[bytes, NewCredential]:
        try:
            token = challenge_in(credential)
            async with self._database.unit(caller) as unit:
                challenge = await self._challenges.take(unit, token, Purpose.PASSKEY_NEW)
            handle = handle_for(challenge, caller)
            return handle, await self._ceremonies.registered(credential, token)
        except Refused:
            raise wrong_credential() from None


class PasskeySignIn:
    """Who comes with a passkey and nothing else: their device has checked them, so that it is two factors."""

    def __init__(
        self,
        database: Database,
        accounts: AccountLock,
        challenges: Challenges,
        assertions: Assertions,
        ceremonies: Ceremonies,
        starter: SessionStarter,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._challenges = challenges
        self._assertions = assertions
        self._ceremonies = ceremonies
        self._starter = starter

    async def question(self) -> PasskeyQuestion:
        """A challenge that any passkey of this site may answer; nobody says who they are before."""
        async with self._database.unit(BEARER) as unit:
            challenge = await self._challenges.ask(unit, Purpose.PASSKEY_SIGN_IN)
        return PasskeyQuestion(challenge, await self._ceremonies.request(challenge))

    async def sign_in(self, token: str, credential: Mapping[str, Any], device: Device) -> TokenPair:
        """A new session of whose passkey answered.

        Raises:
            InvalidPasskey: whatever is wrong.
        """
        async with self._database.unit(BEARER) as unit:
            challenge = await self._challenges.take(unit, token, Purpose.PASSKEY_SIGN_IN)
        proved = await self._assertions.proved(credential, token, challenge)
        begun = None
        async with self._database.unit(BEARER) as unit:
            account = None if proved is None else await self._accounts.held.maybe(unit, id=proved.passkey.user_id)
            if proved is not None and account is not None and await self._assertions.count(unit, proved):
                begun = await self._starter.within(unit, account, device, factors=FACTORS)
            if not isinstance(begun, TokenPair):
                unit.audit("auth.passkey_failed", target=account.id if account else None)
        if not isinstance(begun, TokenPair):
            raise InvalidPasskey
        return begun


def draft(id: UUID, user: UUID, name: str, handle: bytes, made: NewCredential, now: datetime) -> Passkey:
    """The passkey that a new credential makes."""
    return Passkey(
        id=id,
        user_id=user,
        name=name,
        credential_id=made.id,
        handle=handle,
        public_key=made.public_key,
        sign_count=made.sign_count,
        transports=made.transports,
        synced=made.synced,
        backed_up=made.backed_up,
        created_at=now,
        used_at=None,
        version=1,
    )


def handle_for(challenge: Challenge | None, caller: Principal) -> bytes:
    """The handle that this caller's question was asked with, in this session. Raises Refused when it is not theirs."""
    if challenge is None or challenge.handle is None or (challenge.user_id, challenge.within) != (caller.id, caller.session):
        raise Refused
    return challenge.handle


def wrong_credential(field: str = "/credential") -> Invalid:
    """What to say of a credential that is no right answer."""
    return Invalid([FieldError(field, "This is no answer to a question of ours, or was used", "passkeys.refused")])
