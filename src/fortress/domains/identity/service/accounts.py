"""Accounts: signing up, looking up, naming, disabling, changing the password."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery, Savepoint, Unit
from fortress.domains.access.contract import ADMINISTRATOR, Access
from fortress.domains.identity.contract import EmailTaken, NotYourself, People, Person, UserStatus
from fortress.domains.identity.events import PasswordChanged, UserDisabled, UserEnabled, UserSignedUp
from fortress.domains.identity.models import EndedBy, User
from fortress.domains.identity.repository import SessionRepository, UserRepository
from fortress.domains.identity.service import letters
from fortress.domains.identity.service.guesses import PasswordGuesses, wrong_password
from fortress.domains.identity.service.new_passwords import NewPasswords
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.identity.service.starting import Device
from fortress.domains.identity.service.verification import EmailVerification
from fortress.domains.notifications.contract import Notifications
from fortress.errors import CannotStart
from fortress.mail import NOTHING
from fortress.security import ANONYMOUS, SYSTEM, Principal
from fortress.security.hashing import PasswordHasher
from fortress.security.principal import NOBODY

_MADE_PASSWORD_BYTES: Final = 18
_CURRENT: Final = "/current_password"


class SignUpWish(msgspec.Struct, frozen=True):
    """What somebody who signs up says of themself, already checked for its form."""

    email: str
    password: str
    name: str | None

    def __repr__(self) -> str:
        return "SignUpWish(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class AccountService(People):
    """People's accounts."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        sessions: SessionRepository,
        access: Access,
        hasher: PasswordHasher,
        guesses: PasswordGuesses,
        passwords: NewPasswords,
        verification: EmailVerification,
        notices: Notifications,
        revocations: Revocations,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._access = access
        self._hasher = hasher
        self._guesses = guesses
        self._passwords = passwords
        self._verification = verification
        self._notices = notices
        self._revocations = revocations
        self._clock = clock
        self._ids = ids

    async def sign_up(self, wish: SignUpWish) -> User:
        """A new account.

        Whoever signs up with an address in use gets an answer that can't be told from success, an id of nothing, after the
        same work; the address's owner gets a mail.

        Raises:
            Invalid: the password may not be used.
            Unavailable: too many people are signing up.
        """
        await self._passwords.refuse_weak(wish.password, email=wish.email, name=wish.name or "")
        owner = await self._owner(wish.email)
        user = draft(self._ids.new(), wish, await self._hasher.hash(wish.password), self._clock)
        if owner is None and not await self._create(user):
            owner = await self._owner(user.email)
        if owner is not None:
            await self._remember_attempt(owner, user)
        return user

    async def person(self, id: UUID) -> Person | None:
        user = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=id)
        return None if user is None else Person(user.id, user.email, user.name, user.status is UserStatus.ACTIVE)

    async def read(self, id: UUID, caller: Principal) -> User:
        """An account within the caller's reach, or NotFound."""
        return await self._users.by_id(self._database.reader(caller), id=id)

    async def recent(self, query: PageQuery, caller: Principal) -> Page[User]:
        """The accounts within the caller's reach, newest first."""
        return await self._users.recent(self._database.reader(caller), query=query)

    async def by_email(self, email: str, caller: Principal) -> list[User]:
        """The account of this address, if there is one within the caller's reach."""
        found = await self._users.by_email.maybe(self._database.reader(caller), email=email)
        return [] if found is None else [found]

    async def named(self, name: str, query: PageQuery, caller: Principal) -> Page[User]:
        """The accounts of this very name, in whatever case, within the caller's reach, newest first."""
        return await self._users.named(self._database.reader(caller), query=query, name=name)

    async def rename(self, name: str | None, caller: Principal) -> User:
        """Another name for the caller, or none.

        Raises:
            StaleVersion: the account was changed at this moment by somebody else.
        """
        async with self._database.unit(caller) as unit:
            user = await self._users.by_id(unit, id=caller.id)
            if user.name == name:
                return user
            changed = await self._users.save(unit, msgspec.structs.replace(user, name=name))
            unit.audit("users.renamed", target=caller.id)
        return changed

    async def roles_of(self, id: UUID) -> tuple[str, ...]:
        """The roles that this person was given."""
        return await self._access.assigned_to(id)

    async def set_status(self, id: UUID, status: UserStatus, by: Principal) -> User:
        """Disable or enable an account. A disabled one's sessions and keys are refused on every process within a second.

        Raises:
            NotFound: nobody of this id.
            NotYourself: the caller would disable themself.
            LastAdministrator: nobody would be left who can administer.
            StaleVersion: somebody else changed the account at this moment.
        """
        if id == by.id and status is UserStatus.DISABLED:
            raise NotYourself
        async with self._database.unit(by) as unit:
            user = await self._users.by_id(unit, id=id)
            if user.status is status:
                return user
            changed = await self._users.save(unit, msgspec.structs.replace(user, status=status))
            await (self._disabled(unit, id) if status is UserStatus.DISABLED else self._enabled(unit, id))
            self._revocations.user(unit, id)
        return changed

    async def change_password(self, current: str, new: str, caller: Principal, device: Device) -> None:
        """Another password for the caller; every other session of theirs ends (ASVS V6.2.3, V7.4.3).

        Raises:
            Invalid: the current password is wrong, or the new one may not be used.
            TooManyRequests: too many wrong passwords, here or at the sign-in.
        """
        user = await self._users.by_id(self._database.reader(SYSTEM), id=caller.id)
        await self._passwords.refuse_weak(new, email=user.email, name=user.name or "", field="/new_password")
        verified = await self._guesses.prove(user, current, device, _CURRENT)
        password_hash = await self._hasher.hash(new)
        now = self._clock.now()
        async with self._database.unit(caller) as unit:
            if not await self._users.change_password(unit, id=user.id, verified=verified, password_hash=password_hash):
                raise wrong_password(_CURRENT)
            await self._sessions.end_others(unit, user=user.id, kept=caller.session or NOBODY, now=now, ended_by=EndedBy.PASSWORD_CHANGE)
            unit.record(PasswordChanged(user_id=user.id))
            unit.audit("users.password_changed", target=user.id)
            self._revocations.user(unit, user.id)
            await self._notices.tell(unit, user.id, letters.PASSWORD_CHANGED, NOTHING)

    async def ensure_administrator(self, email: str, password: str | None) -> str | None:
        """Make the first administrator, unless there is one.

        Args:
            email: theirs.
            password: theirs; None: one is made.

        Returns:
            The password, when one was made just now; else None.

        Raises:
            CannotStart: the address belongs to somebody who is no administrator, or the password may not be used.
        """
        if await self._access.has_administrator():
            return None
        made = None if password else secrets.token_urlsafe(_MADE_PASSWORD_BYTES)
        chosen = password or made or ""
        if faults := await self._passwords.faults(chosen, email=email):
            raise CannotStart(f"FORTRESS_ADMIN_PASSWORD may not be used: {faults[0].message}")
        user = draft(self._ids.new(), SignUpWish(email, chosen, None), await self._hasher.hash(chosen), self._clock)
        # Whoever runs the site says so; there may be no mail at all yet.
        user = msgspec.structs.replace(user, verified_at=user.created_at)
        if await self._create(user, ADMINISTRATOR, by=SYSTEM):
            return made
        if await self._access.has_administrator():
            # Another process was quicker.
            return None
        raise CannotStart(f"{email} has an account, but not as an administrator", hint="set another FORTRESS_ADMIN_EMAIL")

    async def _create(self, user: User, *roles: str, by: Principal = ANONYMOUS) -> bool:
        """Whether the account is there now; False when the address was taken."""
        try:
            async with self._database.unit(by) as unit:
                await (await self._entered(unit, user, roles)).keep()
                unit.record(UserSignedUp(user_id=user.id))
                unit.audit("users.signed_up", target=user.id)
                if user.verified_at is None:
                    await self._verification.welcome(unit, user)
        except EmailTaken:
            return False
        return True

    async def _owner(self, email: str) -> UUID | None:
        found = await self._users.credentials.maybe(self._database.reader(SYSTEM), email=email)
        return None if found is None else found.id

    async def _entered(self, unit: Unit, user: User, roles: Sequence[str] = ()) -> Savepoint:
        """The account and its roles, written; the savepoint before them."""
        before = Savepoint(unit)
        await before.set()
        await self._users.add(unit, user)
        await self._access.welcome(unit, user.id, roles)
        return before

    async def _remember_attempt(self, owner: UUID, wanted: User) -> None:
        """Tell the owner. An account of nobody is written and taken back: without it the time would tell that there is an owner."""
        async with self._database.unit(ANONYMOUS) as unit:
            nobody = msgspec.structs.replace(wanted, email=f"{wanted.id}@nobody.invalid")
            await (await self._entered(unit, nobody)).take_back()
            unit.audit("users.sign_up_repeated", target=owner)
            await self._notices.tell(unit, owner, letters.ALREADY_SIGNED_UP, NOTHING)

    async def _disabled(self, unit: Unit, id: UUID) -> None:
        await self._access.suspend(unit, id)
        await self._sessions.end_others(unit, user=id, kept=NOBODY, now=self._clock.now(), ended_by=EndedBy.ADMINISTRATOR)
        unit.record(UserDisabled(user_id=id))
        unit.audit("users.disabled", target=id)

    async def _enabled(self, unit: Unit, id: UUID) -> None:
        await self._access.resume(unit, id)
        unit.record(UserEnabled(user_id=id))
        unit.audit("users.enabled", target=id)


def draft(id: UUID, wish: SignUpWish, password_hash: str, clock: Clock) -> User:
    """The account that this wish makes. Pure but for the time."""
    return User(
        id=id,
        email=wish.email,
        name=wish.name,
        password_hash=password_hash,
        status=UserStatus.ACTIVE,
        created_at=clock.now(),
        signed_in_at=None,
        version=1,
    )
