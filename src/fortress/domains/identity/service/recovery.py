"""Forgotten passwords: whoever reads an account's mail may choose another one, and gets past no second factor (ASVS V6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.events import PasswordChanged
from fortress.domains.identity.models import EndedBy, MailedPurpose, User
from fortress.domains.identity.repository import SessionRepository, UserRepository
from fortress.domains.identity.service import letters
from fortress.domains.identity.service.asking import PRIORITY, AskedAddresses
from fortress.domains.identity.service.devices import Devices
from fortress.domains.identity.service.mailed import MailedTokens, invalid_token
from fortress.domains.identity.service.new_passwords import NewPasswords
from fortress.domains.identity.service.pairs import on_behalf_of
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.notifications.contract import Notifications
from fortress.events import Once, job
from fortress.mail import NOTHING
from fortress.security import SYSTEM, Principal
from fortress.security.hashing import PasswordHasher
from fortress.security.principal import NOBODY

if TYPE_CHECKING:
    from fortress.domains.identity.service.starting import Device

_PURPOSE = MailedPurpose.RESET_PASSWORD


class RecoveryService:
    """The way back in."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        sessions: SessionRepository,
        tokens: MailedTokens,
        passwords: NewPasswords,
        hasher: PasswordHasher,
        devices: Devices,
        notices: Notifications,
        revocations: Revocations,
        asked: AskedAddresses,
        clock: Clock,
    ) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._tokens = tokens
        self._passwords = passwords
        self._hasher = hasher
        self._devices = devices
        self._notices = notices
        self._revocations = revocations
        self._asked = asked
        self._clock = clock

    async def forgot(self, email: str) -> None:
        """Have a token sent to this address, if it has an account; the same is done here for any, so that nobody can tell (ASVS V6.3.8)."""
        await self._asked.enqueue(send_reset, email)

    async def start_for(self, id: UUID, by: Principal) -> None:
        """Send a token to somebody, who chooses the password themself: an administrator neither sets nor sees one (ASVS V6.4.6).

        Raises:
            NotFound: nobody of this id.
        """
        async with self._database.unit(by) as unit:
            user = await self._users.by_id(unit, id=id)
            unit.audit("users.password_reset_started", target=id)
            await self._send(unit, user)

    async def reset(self, token: str, password: str, device: Device) -> None:
        """Another password for whose token this is. Every session of theirs ends; keys stay, and so do second factors.

        The device is one of theirs from now on: whoever guesses from elsewhere can't keep them out of it any more.

        Raises:
            Invalid: the token does not hold (unknown, used, expired, or the password or address has changed since), or the
                password may not be used; then the token can be used again.
            Unavailable: too many passwords are being hashed.
        """
        found = await self._tokens.find(token, _PURPOSE)
        user = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=found.user_id)
        if user is None or user.status is not UserStatus.ACTIVE or not self._tokens.still_binds(found.bound, user, _PURPOSE):
            raise invalid_token()
        await self._passwords.refuse_weak(password, email=user.email, name=user.name or "", field="/new_password")
        password_hash, now = await self._hasher.hash(password), self._clock.now()
        async with self._database.unit(on_behalf_of(user.id)) as unit:
            await self._tokens.use(unit, token, _PURPOSE)
            given = {"id": user.id, "verified": user.password_hash, "password_hash": password_hash, "now": now}
            if not await self._users.reset_password(unit, **given):
                raise invalid_token()
            await self._sessions.end_others(unit, user=user.id, kept=NOBODY, now=now, ended_by=EndedBy.PASSWORD_CHANGE)
            await self._devices.trust(unit, user.id, device)
            unit.record(PasswordChanged(user_id=user.id))
            unit.audit("users.password_reset", target=user.id)
            self._revocations.user(unit, user.id)
            await self._notices.tell(unit, user.id, letters.PASSWORD_RESET, NOTHING)

    async def send_asked(self, address: str, once: Once) -> None:
        """Send what was asked for with `forgot`, if anybody has this address. Raises Unreadable."""
        email = self._asked.open(address)
        # Both are asked for anybody: what one of them says must not spare the work of the other.
        allowed = await self._tokens.may_send(_PURPOSE, email)
        found = await self._users.credentials.maybe(self._database.reader(SYSTEM), email=email)
        if not allowed or found is None or found.status is not UserStatus.ACTIVE:
            return
        user = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=found.id)
        if user is not None:
            async with self._database.unit(SYSTEM) as unit:
                if await once(unit):
                    await self._send(unit, user)

    async def _send(self, unit: Unit, user: User) -> None:
        token = await self._tokens.issue(unit, user, _PURPOSE)
        if token is not None:
            await self._notices.tell(unit, user.id, letters.FORGOTTEN_PASSWORD, letters.Carried(token))


@job(name="identity.send_reset", priority=PRIORITY)
async def send_reset(address: str, recovery: RecoveryService, once: Once) -> None:
    """Send a token to who has forgotten a password."""
    await recovery.send_asked(address, once)
