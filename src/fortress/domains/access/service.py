"""The use cases. One method, one action, one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.access.contract import ADMINISTRATOR, EVERYBODY, Access, LastAdministrator, NotAHolder, NotHeld
from fortress.domains.access.events import RolesChanged
from fortress.domains.access.models import RoleHolder
from fortress.domains.access.repository import Held, RoleHolders
from fortress.errors import FieldError, Invalid
from fortress.security import SYSTEM, Everything, Method, PermissionTable, Principal
from fortress.security.callers import CallerCache
from fortress.security.directory import Holding

EVERYTHING_NAME: Final = "*"


class DeclaredRole(msgspec.Struct, frozen=True):
    """A role as the domains declare it; `grants` is `["*"]` for the role that may do everything."""

    name: str
    title: str
    grants: list[str]
    by_default: bool


class DeclaredPermission(msgspec.Struct, frozen=True):
    """A permission as a domain declares it.

    Attributes:
        grants: the names by which it is given: one, or `.own` and `.any`.
        by: the ways of authenticating that may use it.
    """

    name: str
    title: str
    grants: list[str]
    by: list[str]


class AccessService(Access):
    """Roles: which there are, who holds them."""

    def __init__(self, database: Database, holders: RoleHolders, permissions: PermissionTable, callers: CallerCache, clock: Clock) -> None:
        self._database = database
        self._holders = holders
        self._permissions = permissions
        self._callers = callers
        self._clock = clock

    async def holding_of(self, person: UUID) -> Holding:
        return Holding(await self.roles_of(person))

    async def roles_of(self, person: UUID) -> tuple[str, ...]:
        return usable(await self._holders.held.maybe(self._database.reader(SYSTEM), person=person))

    async def assigned_to(self, person: UUID) -> tuple[str, ...]:
        held = await self._holders.held.maybe(self._database.reader(SYSTEM), person=person)
        return held.roles if held else ()

    async def welcome(self, unit: Unit, person: UUID, also: Sequence[str] = ()) -> tuple[str, ...]:
        roles = tuple(dict.fromkeys((*self.given_to_everyone(), *also)))
        await self._holders.add(unit, RoleHolder(person, roles, suspended=False, changed_at=self._clock.now(), version=1))
        return roles

    async def suspend(self, unit: Unit, person: UUID) -> None:
        holder = await self._locked(unit, person, without_administrator=True)
        await self._holders.save(unit, msgspec.structs.replace(holder, suspended=True, changed_at=self._clock.now()))

    async def resume(self, unit: Unit, person: UUID) -> None:
        holder = await self._locked(unit, person, without_administrator=False)
        await self._holders.save(unit, msgspec.structs.replace(holder, suspended=False, changed_at=self._clock.now()))

    async def has_administrator(self) -> bool:
        return bool(await self._holders.administrators(self._database.reader(SYSTEM)))

    def given_to_everyone(self) -> tuple[str, ...]:
        return tuple(role.name for role in self._permissions.roles.values() if role.by_default)

    async def replace_roles(self, person: UUID, roles: Sequence[str], by: Principal) -> tuple[str, ...]:
        """Let the person hold exactly these roles; holds on every process within a second.

        Raises:
            Invalid: there is no such role.
            NotAHolder: nobody of this id.
            NotHeld: the caller does not hold all that a changed role grants.
            LastAdministrator: nobody would be left who can administer.
        """
        wanted = tuple(dict.fromkeys(roles))
        self._refuse_unknown(wanted)
        async with self._database.unit(by) as unit:
            holder = await self._locked(unit, person, without_administrator=ADMINISTRATOR not in wanted)
            changed = set(wanted) ^ set(holder.roles)
            if not changed:
                return holder.roles
            await self._refuse_beyond(unit, by, changed)
            await self._holders.save(unit, msgspec.structs.replace(holder, roles=wanted, changed_at=self._clock.now()))
            unit.record(RolesChanged(user_id=person, roles=wanted))
            unit.audit("access.roles_changed", target=person, detail={"before": list(holder.roles), "after": list(wanted)})
            unit.notify(f"revoked:user:{person}")
            unit.after_commit(partial(self._forget, person))
        return wanted

    def declared_roles(self) -> list[DeclaredRole]:
        """Every role, by name."""
        return [
            DeclaredRole(
                role.name, role.title, self._grant_names(role.name, everything=isinstance(role.grants, Everything)), role.by_default
            )
            for _, role in sorted(self._permissions.roles.items())
        ]

    def declared_permissions(self) -> list[DeclaredPermission]:
        """Every permission, by name."""
        return [
            DeclaredPermission(name, one.title, list(dict.fromkeys((one.own.name, one.any.name))), sorted(one.by))
            for name, one in sorted(self._permissions.permissions.items())
        ]

    def _forget(self, person: UUID) -> None:
        self._callers.evict_user(person)

    def _grant_names(self, role: str, *, everything: bool) -> list[str]:
        return [EVERYTHING_NAME] if everything else self._permissions.names_of(self._permissions.grants_of([role], Method.SYSTEM))

    async def _locked(self, unit: Unit, person: UUID, *, without_administrator: bool) -> RoleHolder:
        """The person's row, nobody else able to change it or the set of administrators before this transaction ends."""
        rows = {row.user_id: row for row in await self._holders.locked(unit, person=person)}
        holder = rows.get(person)
        if holder is None:
            raise NotAHolder
        if without_administrator and administers(holder) and not any(administers(row) for row in rows.values() if row is not holder):
            raise LastAdministrator
        return holder

    def _refuse_unknown(self, roles: Sequence[str]) -> None:
        unknown = unknown_roles(roles, self._permissions.roles)
        if unknown:
            raise Invalid(unknown)

    async def _refuse_beyond(self, unit: Unit, by: Principal, changed: Iterable[str]) -> None:
        if by.method is Method.SYSTEM:
            return
        own = self._permissions.grants_of(usable(await self._holders.held.maybe(unit, person=by.id)), Method.SYSTEM)
        if self._permissions.grants_of(changed, Method.SYSTEM) & ~own:
            raise NotHeld


def usable(held: Held | None) -> tuple[str, ...]:
    """The roles that may be used now. EVERYBODY's can't be lost: no change of roles takes people's own account from them."""
    return () if held is None or held.suspended else tuple(dict.fromkeys((EVERYBODY, *held.roles)))


def administers(holder: RoleHolder) -> bool:
    """Whether this person can administer now."""
    return ADMINISTRATOR in holder.roles and not holder.suspended


def unknown_roles(roles: Sequence[str], declared: Mapping[str, object]) -> list[FieldError]:
    """What to say of the roles that no domain declares."""
    return [
        FieldError(f"/roles/{place}", "There is no such role", "unknown_role") for place, role in enumerate(roles) if role not in declared
    ]
