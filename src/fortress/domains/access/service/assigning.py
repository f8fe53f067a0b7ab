"""Who holds which roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.access.contract import ADMINISTRATOR, Access, LastAdministrator, NotAHolder
from fortress.domains.access.events import RolesChanged
from fortress.domains.access.models import CustomRole, RoleHolder
from fortress.domains.access.repository import BATCH, CustomRoles, RoleHolders
from fortress.domains.access.service.authority import Authority
from fortress.domains.access.service.holdings import (
    Assignment,
    administers_for_good,
    distinct,
    first_end,
    holding,
    in_use,
    standing,
)
from fortress.errors import FieldError, Invalid
from fortress.security import SYSTEM, Method, PermissionTable, Principal
from fortress.security.callers import CallerCache
from fortress.security.directory import Holding

MOST: Final = 20
_ROUNDS: Final = 50


class AccessService(Access):
    """Assignments: giving roles, taking them, letting them end."""

    def __init__(
        self,
        database: Database,
        holders: RoleHolders,
        custom: CustomRoles,
        authority: Authority,
        permissions: PermissionTable,
        callers: CallerCache,
        clock: Clock,
    ) -> None:
        self._database = database
        self._holders = holders
        self._custom = custom
        self._authority = authority
        self._permissions = permissions
        self._callers = callers
        self._clock = clock

    async def holding_of(self, person: UUID) -> Holding:
        held = await self._holders.held.maybe(self._database.reader(SYSTEM), person=person)
        return holding(held, self._clock.now(), self._permissions)

    async def roles_of(self, person: UUID) -> tuple[str, ...]:
        """The names of the roles that this person may use now, declared and made."""
        held = await self._holders.held.maybe(self._database.reader(SYSTEM), person=person)
        return tuple(one.name for one in in_use(held, self._clock.now()))

    async def assigned_to(self, person: UUID) -> tuple[str, ...]:
        held = await self._holders.held.maybe(self._database.reader(SYSTEM), person=person)
        return tuple(one.name for one in standing(held, self._clock.now())) if held else ()

    async def assignments_of(self, person: UUID) -> tuple[Assignment, ...]:
        """The roles that were given to this person and have not ended, and when they do. Raises NotAHolder."""
        held = await self._holders.held.maybe(self._database.reader(SYSTEM), person=person)
        if held is None:
            raise NotAHolder
        return standing(held, self._clock.now())

    async def welcome(self, unit: Unit, person: UUID, also: Sequence[str] = ()) -> tuple[str, ...]:
        roles = tuple(dict.fromkeys((*self.given_to_everyone(), *also)))
        await self._holders.add(
            unit, RoleHolder(person, roles, suspended=False, changed_at=self._clock.now(), version=1, expires={}, ends_at=None)
        )
        return roles

    async def enlist(self, unit: Unit, service: UUID, roles: Sequence[str], by: Principal) -> tuple[str, ...]:
        wanted = distinct([Assignment(name) for name in roles])
        refuse_administration(wanted)
        custom = await self._refuse_unknown(unit, wanted, ())
        await self._refuse_beyond(unit, by, wanted, (), custom)
        names, now = tuple(one.name for one in wanted), self._clock.now()
        await self._holders.add(
            unit, RoleHolder(service, names, suspended=False, changed_at=now, version=1, expires={}, ends_at=None, service=True)
        )
        return names

    async def suspend(self, unit: Unit, person: UUID) -> None:
        holder = await self._locked(unit, person, without_administrator=True)
        await self._holders.save(unit, msgspec.structs.replace(holder, suspended=True, changed_at=self._clock.now()))

    async def resume(self, unit: Unit, person: UUID) -> None:
        holder = await self._locked(unit, person, without_administrator=False)
        await self._holders.save(unit, msgspec.structs.replace(holder, suspended=False, changed_at=self._clock.now()))

    async def leave(self, unit: Unit, person: UUID) -> None:
        await self._holders.remove(unit, await self._locked(unit, person, without_administrator=True))

    async def has_administrator(self) -> bool:
        return bool(await self._holders.administrators(self._database.reader(SYSTEM)))

    def given_to_everyone(self) -> tuple[str, ...]:
        return tuple(role.name for role in self._permissions.roles.values() if role.by_default)

    async def replace_roles(self, person: UUID, roles: Sequence[str | Assignment], by: Principal) -> tuple[Assignment, ...]:
        """Let the person hold exactly these roles; holds on every process within a second.

        Args:
            person: who.
            roles: at most MOST, each by its name, or with an end in the future.
            by: who decides.

        Raises:
            Invalid: there is no such role, its end is past, it comes with two ends, or a service account can't hold it.
            NotAHolder: nobody of this id.
            NotHeld: the caller does not hold all that a changed role grants, or not for as long.
            LastAdministrator: nobody would be left who can administer without an end.
        """
        wanted = distinct([one if isinstance(one, Assignment) else Assignment(one) for one in roles])
        self._refuse_odd(wanted)
        async with self._database.unit(by) as unit:
            holder = await self._locked(unit, person, without_administrator=Assignment(ADMINISTRATOR) not in wanted)
            if holder.service:
                refuse_administration(wanted)
            before = standing(holder, self._clock.now())
            custom = await self._refuse_unknown(unit, wanted, before)
            if set(wanted) == set(before):
                return before
            await self._refuse_beyond(unit, by, wanted, before, custom)
            await self._assign(unit, holder, wanted)
            detail = {"before": [str(one) for one in before], "after": [str(one) for one in wanted]}
            unit.audit("access.roles_changed", target=person, detail=detail)
        return wanted

    async def take_ended(self) -> int:
        """Take from people the roles that have ended, and write it down; how many people that were.

        Nobody could use them any more: this only tidies.
        """
        done = 0
        for _ in range(_ROUNDS):
            taken = await self._take_batch()
            done += taken
            if taken < BATCH:
                break
        return done

    async def _take_batch(self) -> int:
        now = self._clock.now()
        async with self._database.unit(SYSTEM) as unit:
            holders = await self._holders.ended(unit, now=now)
            for holder in holders:
                left = standing(holder, now)
                gone = [name for name in holder.roles if name not in {one.name for one in left}]
                await self._assign(unit, holder, left)
                unit.audit("access.roles_ended", target=holder.user_id, detail={"roles": gone})
        return len(holders)

    async def _assign(self, unit: Unit, holder: RoleHolder, wanted: Sequence[Assignment]) -> None:
        """Write the roles down, and tell everyone."""
        names = tuple(one.name for one in wanted)
        expires = {one.name: one.expires_at for one in wanted if one.expires_at is not None}
        changed = msgspec.structs.replace(holder, roles=names, expires=expires, ends_at=first_end(expires), changed_at=self._clock.now())
        await self._holders.save(unit, changed)
        unit.record(RolesChanged(user_id=holder.user_id, roles=names))
        unit.notify(f"revoked:user:{holder.user_id}")
        unit.after_commit(partial(self._forget, holder.user_id))

    def _forget(self, person: UUID) -> None:
        self._callers.evict_user(person)

    async def _locked(self, unit: Unit, person: UUID, *, without_administrator: bool) -> RoleHolder:
        """The person's row, nobody else able to change it or the set of administrators before this transaction ends."""
        rows = {row.user_id: row for row in await self._holders.locked(unit, person=person)}
        holder = rows.get(person)
        if holder is None:
            raise NotAHolder
        others = (row for row in rows.values() if row is not holder)
        if without_administrator and administers_for_good(holder) and not any(map(administers_for_good, others)):
            raise LastAdministrator
        return holder

    def _refuse_odd(self, wanted: Sequence[Assignment]) -> None:
        now = self._clock.now()
        names = [one.name for one in wanted]
        errors = [FieldError(f"/roles/{place}/expires_at", "This is past", "past") for place, one in enumerate(wanted) if one.end <= now]
        errors += [
            FieldError(f"/roles/{place}", "This role comes twice, with different ends", "role_twice")
            for place, name in enumerate(names)
            if name in names[:place]
        ]
        if errors:
            raise Invalid(errors)

    async def _refuse_unknown(self, unit: Unit, wanted: Sequence[Assignment], before: Sequence[Assignment]) -> dict[str, CustomRole]:
        """The roles among these that were made at run time, kept as they are until this transaction ends."""
        names = [one.name for one in (*wanted, *before) if one.name not in self._permissions.roles]
        custom = {role.name: role for role in await self._custom.kept(unit, names=names)} if names else {}
        unknown = unknown_roles([one.name for one in wanted], {**self._permissions.roles, **custom})
        if unknown:
            raise Invalid(unknown)
        return custom

    async def _refuse_beyond(
        self,
        unit: Unit,
        by: Principal,
        wanted: Sequence[Assignment],
        before: Sequence[Assignment],
        custom: Mapping[str, CustomRole],
    ) -> None:
        """What is given must be held for as long as it is given; what is taken must be held now."""
        own = await self._authority.of(unit, by)
        now = self._clock.now()
        for one in set(wanted) - set(before):
            own.refuse_beyond(self._bits(one.name, custom), one.end)
        for one in set(before) - set(wanted):
            own.refuse_beyond(self._bits(one.name, custom), now)

    def _bits(self, name: str, custom: Mapping[str, CustomRole]) -> int:
        if name in self._permissions.roles:
            return self._permissions.grants_of([name], Method.SYSTEM)
        role = custom.get(name)
        return self._permissions.grants_named(self._permissions.implied(role.grants)) if role else 0


def refuse_administration(wanted: Sequence[Assignment]) -> None:
    """Raises Invalid when the administrator's role is to be given to a service account: who administers is somebody."""
    errors = [
        FieldError(f"/roles/{place}", "A service account can't administer", "not_for_services")
        for place, one in enumerate(wanted)
        if one.name == ADMINISTRATOR
    ]
    if errors:
        raise Invalid(errors)


def unknown_roles(roles: Iterable[str], known: Mapping[str, object]) -> list[FieldError]:
    """What to say of the roles that there aren't."""
    return [FieldError(f"/roles/{place}", "There is no such role", "unknown_role") for place, role in enumerate(roles) if role not in known]
