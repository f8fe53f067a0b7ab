"""The second step of a sign-in: a code or a passkey, after the first proof was right (ASVS V6.3.3, V6.6)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from fortress.data import Database, Unit
from fortress.domains.identity.contract import SecondStepFailed, UserStatus
from fortress.domains.identity.models import Challenge, Purpose
from fortress.domains.identity.repository import Account, AccountLock
from fortress.domains.identity.service import factor_letters as letters
from fortress.domains.identity.service.assertions import Assertions, Proved
from fortress.domains.identity.service.ceremonies import Ceremonies, KnownCredential
from fortress.domains.identity.service.challenges import Challenges, state_of
from fortress.domains.identity.service.codes import Checked, CodeKind, Codes
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.questions import PasskeyQuestion
from fortress.domains.identity.service.starting import BEARER, Device, SessionStarter
from fortress.domains.notifications.contract import Notifications
from fortress.errors import Refusal
from fortress.mail import NOTHING
from fortress.security.permissions import FACTORS


class UsedCodes:
    """Uses codes up, and tells owner and log what became of them."""

    def __init__(self, codes: Codes, notices: Notifications) -> None:
        self._codes = codes
        self._notices = notices

    async def use(self, unit: Unit, account: Account, code: str) -> Checked:
        """As `Codes.use`, with the account held."""
        checked = await self._codes.use(unit, account.id, code)
        if checked.kind is None:
            unit.audit("auth.second_step_failed", target=account.id, detail={"waiting": checked.wait > 0})
        if checked.exhausted:
            await self._notices.tell(unit, account.id, letters.CODES_EXHAUSTED, NOTHING)
        if checked.kind is CodeKind.RECOVERY_CODE:
            unit.audit("recovery_codes.used", target=account.id)
            await self._notices.tell(unit, account.id, letters.RECOVERY_CODE_USED, NOTHING)
        return checked


class SecondStepService:
    """Who was asked for a second step, and answers."""

    def __init__(
        self,
        database: Database,
        accounts: AccountLock,
        challenges: Challenges,
        codes: UsedCodes,
        assertions: Assertions,
        ceremonies: Ceremonies,
        starter: SessionStarter,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._challenges = challenges
        self._codes = codes
        self._assertions = assertions
        self._ceremonies = ceremonies
        self._starter = starter

    async def by_code(self, token: str, code: str, device: Device) -> TokenPair:
        """A session of two factors, for a code of the app or a recovery code.

        Raises:
            SecondStepFailed: whatever is wrong with token or code.
            TooManyRequests: codes of the app were guessed too often.
        """
        async with self._database.unit(BEARER) as unit:
            outcome = await self._by_code(unit, token, code, device)
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def passkey_question(self, token: str) -> PasskeyQuestion:
        """A challenge for the passkeys of who was asked.

        Raises:
            SecondStepFailed: the token is not good, or there are no passkeys.
        """
        step = await self._challenges.read(token)
        known = [] if step is None or step.user_id is None else await self._assertions.credentials_of(step.user_id)
        if step is None or not known:
            raise SecondStepFailed
        async with self._database.unit(BEARER) as unit:
            challenge = await self._challenges.ask(unit, Purpose.PASSKEY_SECOND_STEP, step.user_id, within=step.id)
        described = [KnownCredential(one.credential_id, one.transports) for one in known]
        return PasskeyQuestion(challenge, await self._ceremonies.request(challenge, described))

    async def by_passkey(self, token: str, challenge_token: str, credential: Mapping[str, Any], device: Device) -> TokenPair:
        """A session of two factors, for a passkey's answer.

        Raises:
            SecondStepFailed: whatever is wrong.
        """
        async with self._database.unit(BEARER) as unit:
            step = await self._challenges.tried(unit, token)
            challenge = await self._challenges.take(unit, challenge_token, Purpose.PASSKEY_SECOND_STEP)
        belongs = step is not None and challenge is not None and challenge.within == step.id
        proved = await self._assertions.proved(credential, challenge_token, challenge) if belongs else None
        async with self._database.unit(BEARER) as unit:
            pair = await self._by_passkey(unit, step, proved, device)
        if pair is None:
            raise SecondStepFailed
        return pair

    async def _by_code(self, unit: Unit, token: str, code: str, device: Device) -> TokenPair | Refusal:
        step = await self._challenges.tried(unit, token)
        account = await self._asked(unit, step)
        if step is None or account is None:
            return SecondStepFailed()
        checked = await self._codes.use(unit, account, code)
        if checked.kind is None:
            return checked.refusal(SecondStepFailed())
        return await self._done(unit, step, account, device) or SecondStepFailed()

    async def _by_passkey(self, unit: Unit, step: Challenge | None, proved: Proved | None, device: Device) -> TokenPair | None:
        account = await self._asked(unit, step)
        if step is None or account is None:
            return None
        if proved is None or not await self._assertions.count(unit, proved):
            unit.audit("auth.second_step_failed", target=account.id)
            return None
        return await self._done(unit, step, account, device)

    async def _done(self, unit: Unit, step: Challenge, account: Account, device: Device) -> TokenPair | None:
        if not await self._challenges.settle(unit, step.id):
            return None
        begun = await self._starter.within(unit, account, device, factors=FACTORS)
        return begun if isinstance(begun, TokenPair) else None

    async def _asked(self, unit: Unit, step: Challenge | None) -> Account | None:
        """The account that a second step is of, held; None when it is not as it was when the first proof was right."""
        if step is None or step.user_id is None or step.state is None:
            return None
        account = await self._accounts.held.maybe(unit, id=step.user_id)
        if account is None or account.status is not UserStatus.ACTIVE:
            return None
        return account if hmac.compare_digest(step.state, state_of(account.password_hash)) else None
