"""Which roles there are: those that the domains declare, and those made of declared permissions at run time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery, Unit
from fortress.domains.access.contract import RoleDeclared, RoleExists, RoleHeld, TooManyRoles, UnknownRole
from fortress.domains.access.events import RoleChanged, RoleMade, RoleRemoved
from fortress.domains.access.models import CustomRole
from fortress.domains.access.repository import CustomRoles, RoleHolders
from fortress.domains.access.service.authority import Authority
from fortress.errors import FieldError, Invalid, StaleVersion
from fortress.security import SYSTEM, Everything, Method, PermissionTable, Principal, Role
from fortress.security.callers import CallerCache

EVERYTHING_NAME: Final = "*"
MOST: Final = 1000
# Of one audit row, so that its detail always fits.
_SAID_AT_ONCE: Final = 30


class Origin(StrEnum):
    """Where a role comes from."""

    DECLARED = "declared"
    MADE = "made"


class RoleView(msgspec.Struct, frozen=True):
    """A role.

    Attributes:
        grants: names of grants; `["*"]` for the role that may do everything.
        by_default: whether everyone gets it who signs up.
        origin: declared by a domain, or made at run time; only the latter can be changed.
        second_factor: whether it counts only in sessions that were proved with two factors.
        version: grows with each change; None for declared ones, as are the times.
    """

    name: str
    title: str
    grants: list[str]
    by_default: bool
    origin: Origin
    second_factor: bool
    created_at: datetime | None = None
    changed_at: datetime | None = None
    version: int | None = None


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


class RoleWish(msgspec.Struct, frozen=True):
    """A role as somebody wants it."""

    name: str
    title: str
    grants: tuple[str, ...]
    second_factor: bool = False


class RoleService:
    """Definitions of roles. A change holds on every process within a second: everyone who is remembered is forgotten."""

    def __init__(
        self,
        database: Database,
        custom: CustomRoles,
        holders: RoleHolders,
        authority: Authority,
        permissions: PermissionTable,
        callers: CallerCache,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._custom = custom
        self._holders = holders
        self._authority = authority
        self._permissions = permissions
        self._callers = callers
        self._clock = clock
        self._ids = ids

    def declared_permissions(self) -> list[DeclaredPermission]:
        """Every permission, by name."""
        return [
            DeclaredPermission(name, one.title, list(dict.fromkeys((one.own.name, one.any.name))), sorted(one.by))
            for name, one in sorted(self._permissions.permissions.items())
        ]

    def declared_roles(self) -> list[RoleView]:
        """Every declared role, by name."""
        return [self._declared_view(role) for _, role in sorted(self._permissions.roles.items())]

    async def recent(self, query: PageQuery, caller: Principal) -> Page[RoleView]:
        """The roles, declared and made, by name."""
        reader = self._database.reader(caller)
        (after,) = reader.cursors.read(query.cursor, _CURSOR, caller, tuple[str]) if query.cursor else ("",)
        made = await self._custom.after(reader, after=after, most=query.limit + 1)
        views = [*map(custom_view, self._shown(made)), *(role for role in self.declared_roles() if role.name > after)]
        views.sort(key=lambda view: view.name)
        items = views[: query.limit]
        return Page(items, reader.cursors.write(_CURSOR, caller, (items[-1].name,)) if len(views) > len(items) else None)

    async def read(self, name: str) -> RoleView:
        """The role of this name. Raises UnknownRole."""
        declared = self._permissions.roles.get(name)
        if declared is not None:
            return self._declared_view(declared)
        made = await self._custom.by_name.maybe(self._database.reader(SYSTEM), name=name)
        if made is None:
            raise UnknownRole
        return custom_view(made)

    async def make(self, wish: RoleWish, by: Principal) -> RoleView:
        """A new role.

        Raises:
            Invalid: a grant that no domain declares; names each.
            RoleExists: there is one of this name, declared or made.
            NotHeld: the caller does not hold all of it, or not without an end.
            TooManyRoles: there are MOST.
        """
        if wish.name in self._permissions.roles:
            raise RoleExists
        grants = self._known(wish.grants)
        now = self._clock.now()
        role = CustomRole(self._ids.new(), wish.name, wish.title, grants, wish.second_factor, now, now, 1)
        async with self._database.unit(by) as unit:
            await self._authority.refuse_beyond(unit, by, grants)
            await self._custom.turn(unit)
            if await self._custom.counted(unit) >= MOST:
                raise TooManyRoles
            await self._custom.add(unit, role)
            unit.record(RoleMade(role_id=role.id, name=role.name))
            self._audit(unit, "access.role_made", role, grants=grants)
        return custom_view(role)

    async def change(self, wish: RoleWish, by: Principal, *, version: int | None = None) -> RoleView:
        """Another definition of a role that was made at run time.

        Args:
            wish: all of it.
            by: who decides.
            version: the one that was read; None: whichever it is.

        Raises:
            Invalid: a grant that no domain declares; names each.
            RoleDeclared: it is code.
            UnknownRole: there is none of this name.
            NotHeld: the caller does not hold what comes or goes, or not without an end.
            StaleVersion: it was changed in between.
        """
        self._refuse_declared(wish.name)
        grants = self._known(wish.grants)
        async with self._database.unit(by) as unit:
            role = await self._locked(unit, wish.name)
            if version is not None and version != role.version:
                raise StaleVersion
            changed = msgspec.structs.replace(
                role, title=wish.title, grants=grants, second_factor=wish.second_factor, changed_at=self._clock.now()
            )
            await self._authority.refuse_beyond(unit, by, _moved(role, changed))
            saved = await self._custom.save(unit, changed)
            unit.record(RoleChanged(role_id=role.id, name=role.name))
            given, taken = sorted(set(grants) - set(role.grants)), sorted(set(role.grants) - set(grants))
            self._audit(unit, "access.role_changed", saved, given=given, taken=taken)
            self._forget_everyone(unit)
        return custom_view(saved)

    async def remove(self, name: str, by: Principal) -> None:
        """Remove a role that was made at run time and that nobody holds any more.

        Raises:
            RoleDeclared: it is code.
            UnknownRole: there is none of this name.
            NotHeld: the caller does not hold all of it.
            RoleHeld: somebody holds it.
        """
        self._refuse_declared(name)
        async with self._database.unit(by) as unit:
            role = await self._locked(unit, name)
            await self._authority.refuse_beyond(unit, by, role.grants)
            if await self._holders.of_role(unit, role=name, now=self._clock.now()):
                raise RoleHeld
            await self._custom.remove(unit, role)
            unit.record(RoleRemoved(role_id=role.id, name=name))
            self._audit(unit, "access.role_removed", role, grants=role.grants)
            self._forget_everyone(unit)

    def _forget_everyone(self, unit: Unit) -> None:
        """Who holds a role is not known where callers are remembered, so all are forgotten; a role is changed rarely."""
        unit.notify(EVERYONE)
        unit.after_commit(self._clear)

    def _clear(self) -> None:
        self._callers.clear()

    async def _locked(self, unit: Unit, name: str) -> CustomRole:
        role = await self._custom.locked.maybe(unit, name=name)
        if role is None:
            raise UnknownRole
        return role

    def _refuse_declared(self, name: str) -> None:
        if name in self._permissions.roles:
            raise RoleDeclared

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        """The grants, each once, sorted. Raises Invalid, naming each that there isn't."""
        unknown = [
            FieldError(f"/grants/{place}", "There is no such grant", "unknown_grant")
            for place, name in enumerate(names)
            if not self._permissions.declares(name)
        ]
        if unknown:
            raise Invalid(unknown)
        return tuple(sorted(set(names)))

    def _audit(self, unit: Unit, action: str, role: CustomRole, **lists: Sequence[str]) -> None:
        said = {"name": role.name, "second_factor": role.second_factor}
        for part in _parts(lists):
            unit.audit(action, target=role.id, detail={**said, **part})

    def _shown(self, made: Iterable[CustomRole]) -> list[CustomRole]:
        """Those that no domain has declared since: what is declared stands before them."""
        return [role for role in made if role.name not in self._permissions.roles]

    def _declared_view(self, role: Role) -> RoleView:
        every = isinstance(role.grants, Everything)
        grants = [EVERYTHING_NAME] if every else self._permissions.names_of(self._permissions.grants_of([role.name], Method.SYSTEM))
        return RoleView(role.name, role.title, grants, role.by_default, Origin.DECLARED, role.second_factor)


_CURSOR: Final = "access.roles"
# What is no id empties the memory of callers in every process.
EVERYONE: Final = "revoked:roles:*"


def custom_view(role: CustomRole) -> RoleView:
    """A role that was made at run time, as it goes out."""
    return RoleView(
        role.name,
        role.title,
        list(role.grants),
        by_default=False,
        origin=Origin.MADE,
        second_factor=role.second_factor,
        created_at=role.created_at,
        changed_at=role.changed_at,
        version=role.version,
    )


def _moved(before: CustomRole, after: CustomRole) -> set[str]:
    """The grants that a change gives to the role's holders or takes from them; all, when the second factor comes or goes."""
    if before.second_factor is not after.second_factor:
        return {*before.grants, *after.grants}
    return set(before.grants) ^ set(after.grants)


def _parts(lists: dict[str, Sequence[str]]) -> Iterator[dict[str, list[str]]]:
    """The lists, in as many pieces as their length asks for."""
    longest = max((len(names) for names in lists.values()), default=0)
    for start in range(0, max(longest, 1), _SAID_AT_ONCE):
        yield {name: list(values[start : start + _SAID_AT_ONCE]) for name, values in lists.items()}
