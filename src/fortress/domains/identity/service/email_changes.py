"""Another address for an account: its owner asks, and the holders of both addresses agree (ASVS V6.3.7, V7.5.1).

Whoever has lost the old address asks an administrator, who speaks for that end; the old address hears of it all the same, and
can stop it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Unit
from fortress.domains.identity.contract import EmailTaken, UserStatus
from fortress.domains.identity.events import EmailChanged
from fortress.domains.identity.models import EmailChange, User
from fortress.domains.identity.models.addresses import comparable
from fortress.domains.identity.repository import AccountLock, EmailChangeRepository, UserRepository
from fortress.domains.identity.service import letters
from fortress.domains.identity.service.asking import PRIORITY
from fortress.domains.identity.service.guesses import PasswordGuesses
from fortress.domains.identity.service.mailed import MailedTokens, digest_of, invalid_token, new_token
from fortress.domains.identity.service.pairs import on_behalf_of
from fortress.domains.identity.service.starting import Device
from fortress.domains.notifications.contract import Notifications
from fortress.events import Once, job
from fortress.mail import NOTHING
from fortress.security import SYSTEM, Principal
from fortress.security.proof import proof_of

_LIFETIME: Final = timedelta(hours=24)
_FRESH: Final = proof_of(timedelta(minutes=5), 1)
_PURPOSE: Final = "change_email"


class EmailChangeService:
    """Changes of addresses that are under way; one for each account, and the last one asked for."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        accounts: AccountLock,
        changes: EmailChangeRepository,
        tokens: MailedTokens,
        guesses: PasswordGuesses,
        notices: Notifications,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._accounts = accounts
        self._changes = changes
        self._tokens = tokens
        self._guesses = guesses
        self._notices = notices
        self._clock = clock
        self._ids = ids

    async def ask(self, new_email: str, password: str | None, caller: Principal, device: Device) -> None:
        """Begin to change the caller's address. An address that is in use gets the same answer, and its owner a mail.

        Args:
            new_email: the address that shall be theirs.
            password: theirs; None: the session was proved within the last five minutes instead.
            caller: whose address it is.
            device: where they ask from.

        Raises:
            Invalid: it is not their password.
            TooManyRequests: too many wrong passwords, here or at the sign-in.
            ReauthenticationRequired: there is no password, and the proof is older.
        """
        user = await self._users.by_id(self._database.reader(SYSTEM), id=caller.id)
        await self._prove(user, password, caller, device)
        await self._begin(user, new_email, caller, spoken_for=False)

    async def ask_for(self, id: UUID, new_email: str, by: Principal) -> None:
        """Begin to change somebody's address who can't read mail at the old one; the new one must be proved all the same.

        Raises:
            NotFound: nobody of this id.
        """
        user = await self._users.by_id(self._database.reader(by), id=id)
        await self._begin(user, new_email, by, spoken_for=True)

    async def confirm(self, token: str) -> None:
        """The holder of one of the two addresses agrees; with the second one the address is another.

        Raises:
            Invalid: the token does not hold (unknown, used, expired, the address has changed since), or the address has been
                taken in between.
        """
        digest, now = digest_of(token), self._clock.now()
        try:
            async with self._database.unit(SYSTEM) as unit:
                found = await self._changes.prove_old(unit, digest=digest, now=now) or await self._changes.prove_new(
                    unit, digest=digest, now=now
                )
                if not found:
                    raise invalid_token()
                await self._agreed(unit, found[0])
        except EmailTaken:
            raise invalid_token() from None

    async def stop(self, token: str) -> None:
        """The holder of one of the two addresses does not agree. Raises Invalid."""
        async with self._database.unit(SYSTEM) as unit:
            found = await self._changes.stop(unit, digest=digest_of(token), now=self._clock.now())
            if not found:
                raise invalid_token()
            unit.principal = on_behalf_of(found[0])
            unit.audit("users.email_change_stopped", target=found[0])

    async def _prove(self, user: User, password: str | None, caller: Principal, device: Device) -> None:
        if password is not None:
            await self._guesses.prove(user, password, device, "/password")
        elif _FRESH is not None and (lacking := _FRESH.lacking(caller, self._clock.now().timestamp())) is not None:
            raise lacking

    async def _begin(self, user: User, new_email: str, by: Principal, *, spoken_for: bool) -> None:
        if not await self._tokens.may_send(_PURPOSE, user.email):
            return
        old, now = new_token(), self._clock.now()
        change = EmailChange(
            id=self._ids.new(),
            user_id=user.id,
            new_email=new_email,
            bound=self._tokens.states(user, _PURPOSE)[0],
            old_digest=digest_of(old),
            # Nobody has this one: the job that writes to the new address makes the one that counts.
            new_digest=digest_of(new_token()),
            old_proved_at=now if spoken_for else None,
            new_proved_at=None,
            created_at=now,
            expires_at=now + _LIFETIME,
        )
        async with self._database.unit(by) as unit:
            # Of two at once the second waits here, and takes the place of the first.
            await self._accounts.held(unit, id=user.id)
            await self._changes.forget_of(unit, user=user.id)
            await self._changes.add(unit, change)
            unit.audit("users.email_change_asked", target=user.id, detail={"by_administrator": spoken_for})
            told = letters.EMAIL_CHANGE_ORDERED if spoken_for else letters.EMAIL_CHANGE_ASKED
            await self._notices.tell(unit, user.id, told, letters.Carried(old), to=user.email)
            unit.enqueue(offer_address.on(at=now), person=user.id, change=change.id)

    async def offer(self, person: UUID, id: UUID, once: Once) -> None:
        """Write to the address that somebody wants; in a job, for what it takes depends on whether the address is somebody's."""
        reader = self._database.reader(SYSTEM)
        change = await self._changes.of_person.maybe(reader, person=person)
        if change is None or change.id != id:
            return
        owner = await self._users.credentials.maybe(reader, email=change.new_email)
        if not await self._tokens.may_send(f"{_PURPOSE}-to", change.new_email):
            return
        async with self._database.unit(SYSTEM) as unit:
            if not await once(unit):
                return
            if owner is None or owner.id == person:
                token = new_token()
                await self._changes.give_new(unit, id=id, digest=digest_of(token))
                await self._notices.tell(unit, person, letters.EMAIL_CHANGE_OFFERED, letters.Carried(token), to=change.new_email)
            else:
                await self._notices.tell(unit, owner.id, letters.ADDRESS_WANTED, NOTHING)

    async def _agreed(self, unit: Unit, change: EmailChange) -> None:
        user = await self._users.by_id.maybe(unit, id=change.user_id)
        if user is None or user.status is not UserStatus.ACTIVE or not self._tokens.still_binds(change.bound, user, _PURPOSE):
            raise invalid_token()
        unit.principal = on_behalf_of(user.id)
        if change.old_proved_at is None or change.new_proved_at is None:
            unit.audit("users.email_change_agreed", target=user.id)
            return
        await self._users.save(unit, msgspec.structs.replace(user, email=change.new_email, verified_at=self._clock.now()))
        await self._changes.forget_of(unit, user=user.id)
        unit.record(EmailChanged(user_id=user.id))
        unit.audit("users.email_changed", target=user.id)
        same = comparable(user.email) == comparable(change.new_email)
        for address in {user.email, change.new_email} if not same else {change.new_email}:
            await self._notices.tell(unit, user.id, letters.EMAIL_CHANGED, NOTHING, to=address)


@job(name="identity.offer_address", priority=PRIORITY)
async def offer_address(person: UUID, change: UUID, changes: EmailChangeService, once: Once) -> None:
    """Write to the address that somebody wants for their account."""
    await changes.offer(person, change, once)
