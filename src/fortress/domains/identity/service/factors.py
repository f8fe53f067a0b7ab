"""Second factors of one's own: turning them on and off (ASVS V6.3.3, V6.4.4, V7.5.1)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.identity.contract import AuthenticatorExists, NoSecondFactor
from fortress.domains.identity.events import SecondFactorAdded, SecondFactorRemoved
from fortress.domains.identity.models import Authenticator, EndedBy
from fortress.domains.identity.repository import (
    AccountLock,
    AuthenticatorRepository,
    PasskeyRepository,
    RecoveryCodeRepository,
    SessionRepository,
    Standing,
    UserRepository,
)
from fortress.domains.identity.service import factor_letters as letters
from fortress.domains.identity.service.codes import CodeKind, Codes, new_secret, provisioning_uri, spelled
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.notifications.contract import Notifications
from fortress.errors import FieldError, Invalid
from fortress.mail import NOTHING
from fortress.security import SYSTEM, Principal
from fortress.security.permissions import FACTORS
from fortress.security.principal import NOBODY
from fortress.security.proof import SecondFactorRequired
from fortress.settings import Settings


class Enrolment(msgspec.Struct, frozen=True):
    """What an authenticator app is given: the secret as people type it, and the same as a URI for a QR code. Shown once."""

    secret: str
    uri: str

    def __repr__(self) -> str:
        return "Enrolment(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class FactorState(msgspec.Struct, frozen=True):
    """The caller's second factors.

    Attributes:
        enabled: whether a second step is asked for at sign-in.
        totp_since: when the authenticator app was turned on.
        passkeys: how many there are.
        recovery_codes: how many are left.
    """

    enabled: bool
    totp_since: datetime | None
    passkeys: int
    recovery_codes: int


class FactorKeeper:
    """What turning any second factor on or off brings along; part of the unit that does so."""

    def __init__(
        self,
        accounts: AccountLock,
        users: UserRepository,
        authenticators: AuthenticatorRepository,
        recovery: RecoveryCodeRepository,
        sessions: SessionRepository,
        codes: Codes,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._users = users
        self._authenticators = authenticators
        self._recovery = recovery
        self._sessions = sessions
        self._codes = codes
        self._revocations = revocations
        self._clock = clock

    async def hold(self, unit: Unit, caller: Principal) -> Standing:
        """What the caller has, held still: nobody signs in meanwhile as somebody without a second factor.

        Raises:
            SecondFactorRequired: they have one, and their session was begun without it.
        """
        await self._accounts.held(unit, id=caller.id)
        standing = await self._authenticators.standing(unit, user=caller.id, now=self._clock.now())
        if standing.methods and caller.factors < FACTORS:
            raise SecondFactorRequired
        return standing

    async def added(self, unit: Unit, caller: Principal, kind: str, before: Standing) -> list[str]:
        """A second factor is on. Gives the recovery codes, when there were none: shown this once.

        Whoever has seen the account without it, and signs in at this moment, must find the row changed.
        """
        await self._users.touch(unit, id=caller.id)
        unit.record(SecondFactorAdded(user_id=caller.id, kind=kind))
        unit.audit("factors.added", target=caller.id, detail={"kind": kind})
        return [] if before.recovery_code else await self._codes.renew_recovery(unit, caller.id)

    async def removed(self, unit: Unit, caller: Principal, kind: str) -> None:
        """A second factor is off. Every other session ends, and with the last factor the recovery codes go."""
        now = self._clock.now()
        unit.record(SecondFactorRemoved(user_id=caller.id, kind=kind))
        unit.audit("factors.removed", target=caller.id, detail={"kind": kind})
        if not (await self._authenticators.standing(unit, user=caller.id, now=now)).methods:
            await self._recovery.drop(unit, user=caller.id)
        await self._sessions.end_others(unit, user=caller.id, kept=caller.session or NOBODY, now=now, ended_by=EndedBy.FACTOR_CHANGE)
        self._revocations.user(unit, caller.id)


class FactorService:
    """One's own authenticator app and recovery codes."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        authenticators: AuthenticatorRepository,
        recovery: RecoveryCodeRepository,
        passkeys: PasskeyRepository,
        codes: Codes,
        keeper: FactorKeeper,
        notices: Notifications,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._users = users
        self._authenticators = authenticators
        self._recovery = recovery
        self._passkeys = passkeys
        self._codes = codes
        self._keeper = keeper
        self._notices = notices
        self._site = settings.site
        self._clock = clock

    async def state(self, caller: Principal) -> FactorState:
        """What the caller has."""
        reader = self._database.reader(SYSTEM)
        held = await self._authenticators.of_user.maybe(reader, user=caller.id)
        passkeys = len(await self._passkeys.owned(reader, user=caller.id))
        codes = len(await self._recovery.of_user(reader, user=caller.id))
        since = held.confirmed_at if held else None
        return FactorState(enabled=since is not None or passkeys > 0, totp_since=since, passkeys=passkeys, recovery_codes=codes)

    async def enrol(self, caller: Principal) -> Enrolment:
        """The secret of an authenticator app to be. It counts for nothing before `confirm`; asked again, there is a new one.

        Raises:
            AuthenticatorExists: there is one that is on.
            SecondFactorRequired: they have a second factor, and this session is without it.
        """
        secret, now = new_secret(), self._clock.now()
        async with self._database.unit(caller) as unit:
            if (await self._keeper.hold(unit, caller)).totp:
                raise AuthenticatorExists
            user = await self._users.by_id(unit, id=caller.id)
            await self._authenticators.drop(unit, user=caller.id)
            await self._authenticators.add(unit, draft(caller.id, secret, now))
            unit.audit("factors.begun", target=caller.id, detail={"kind": CodeKind.TOTP})
        return Enrolment(spelled(secret), provisioning_uri(secret, user.email, self._site))

    async def confirm(self, code: str, caller: Principal) -> list[str]:
        """Turn the app on, whose code this is.

        Returns:
            Recovery codes, shown this once; none when there were some already.

        Raises:
            Invalid: it is not a code of the app that was begun.
        """
        async with self._database.unit(caller) as unit:
            before = await self._keeper.hold(unit, caller)
            if not await self._codes.confirm(unit, caller.id, code):
                raise wrong_code()
            codes = await self._keeper.added(unit, caller, CodeKind.TOTP, before)
            await self._notices.tell(unit, caller.id, letters.AUTHENTICATOR_ADDED, NOTHING)
        return codes

    async def remove(self, caller: Principal) -> None:
        """Turn the app off; every other session ends.

        Raises:
            NoSecondFactor: there is none.
        """
        async with self._database.unit(caller) as unit:
            await self._keeper.hold(unit, caller)
            if not await self._authenticators.drop(unit, user=caller.id):
                raise NoSecondFactor
            await self._keeper.removed(unit, caller, CodeKind.TOTP)
            await self._notices.tell(unit, caller.id, letters.AUTHENTICATOR_REMOVED, NOTHING)

    async def renew_recovery(self, caller: Principal) -> list[str]:
        """Ten new recovery codes; the old ones are void.

        Raises:
            NoSecondFactor: there is nothing that they could stand in for.
        """
        async with self._database.unit(caller) as unit:
            if not (await self._keeper.hold(unit, caller)).methods:
                raise NoSecondFactor
            codes = await self._codes.renew_recovery(unit, caller.id)
            unit.audit("recovery_codes.renewed", target=caller.id)
            await self._notices.tell(unit, caller.id, letters.RECOVERY_CODES_RENEWED, NOTHING)
        return codes


def draft(user: UUID, secret: bytes, now: datetime) -> Authenticator:
    """An app that has shown no code yet."""
    return Authenticator(user_id=user, secret=secret, created_at=now, confirmed_at=None, last_step=0, misses=0, missed_since=now)


def wrong_code(field: str = "/code") -> Invalid:
    """What to say of a code that is not right, or not any more."""
    return Invalid([FieldError(field, "This code is not right, or was used", "mfa.wrong_code")])
