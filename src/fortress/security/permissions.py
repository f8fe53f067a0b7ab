"""Permissions and roles as data, and the bits that make a check one `&`.

A domain declares `Permission`s and `Role`s; `PermissionTable` gives every grant a bit at start. Nobody else
decides who may what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from fortress.errors import CannotStart

if TYPE_CHECKING:
    from fortress.security.directory import Holding


class Method(StrEnum):
    """How a caller proved who they are."""

    NONE = "none"
    SESSION = "session"
    API_KEY = "api_key"
    SYSTEM = "system"


class Reach(Enum):
    """How far a grant goes: one's own rows, or anyone's."""

    OWN = "own"
    ANY = "any"


FACTORS: Final = 2
EVERY_METHOD: Final = frozenset({Method.SESSION, Method.API_KEY})
SESSION_ONLY: Final = frozenset({Method.SESSION})


class Permission(msgspec.Struct, frozen=True):
    """Something that may be allowed.

    Args:
        name: `domain:verb`, unique in the project.
        title: what it allows, for people.
        reach: True when it is granted as `.own` or `.any`.
        by: the ways of authenticating that may use it (a session may change a password, an API key may not).
    """

    name: str
    title: str
    reach: bool = False
    by: frozenset[Method] = EVERY_METHOD

    @property
    def own(self) -> Grant:
        """This permission over the caller's own rows."""
        return Grant(self, Reach.OWN)

    @property
    def any(self) -> Grant:
        """This permission over everyone's rows."""
        return Grant(self, Reach.ANY)


class Grant(msgspec.Struct, frozen=True):
    """A permission with the reach it is given in."""

    permission: Permission
    reach: Reach = Reach.ANY

    @property
    def name(self) -> str:
        return f"{self.permission.name}.{self.reach.value}" if self.permission.reach else self.permission.name


class Public(msgspec.Struct, frozen=True):
    """Open to everyone, said aloud. Use the constant PUBLIC."""


class Everything(msgspec.Struct, frozen=True):
    """Every permission there is, anyone's rows included. Only the owner's role may hold it."""


PUBLIC: Final = Public()
EVERYTHING: Final = Everything()
Allow = Permission | Public


class Role(msgspec.Struct, frozen=True):
    """A named bundle of grants.

    Args:
        by_default: whether everyone gets it who signs up.
        second_factor: whether it counts only in sessions that were proved with two factors (ASVS V6.3.3).
    """

    name: str
    title: str
    grants: Sequence[Grant | Permission] | Everything
    by_default: bool = False
    second_factor: bool = False


class Held(msgspec.Struct, frozen=True):
    """What a caller may use: the bits that count, and those that would count after a second factor."""

    grants: int
    locked: int


class Need(msgspec.Struct, frozen=True):
    """What a route asks for: pass when `grants & mask`; the reach is ANY when `grants & anyone`."""

    mask: int
    anyone: int


class PermissionTable:
    """The bits of every grant in one assembled project.

    Args:
        permissions: of every domain.
        roles: of every domain.

    Raises:
        CannotStart: a name is declared twice, or a role grants what no domain declares.
    """

    def __init__(self, permissions: Iterable[Permission], roles: Iterable[Role]) -> None:
        self._permissions: dict[str, Permission] = {}
        self._bits: dict[str, int] = {}
        self._grants: dict[str, Grant] = {}
        for permission in permissions:
            self._add(permission)
        self._by_method = {method: self._usable_by(method) for method in Method}
        self._roles: dict[str, Role] = {}
        self._masks: dict[str, int] = {}
        for role in roles:
            self._add_role(role)

    @property
    def permissions(self) -> Mapping[str, Permission]:
        return self._permissions

    @property
    def roles(self) -> Mapping[str, Role]:
        return self._roles

    def asking_second_factor_of(self, role: str) -> PermissionTable:
        """The same table, but this role counts only after a second factor."""
        asking = msgspec.structs.replace(self._roles[role], second_factor=True)
        return PermissionTable(self._permissions.values(), (self._roles | {role: asking}).values())

    def need(self, allow: Allow) -> Need:
        """What `allow` asks of a caller's grants; a mask of 0 asks nothing."""
        if isinstance(allow, Public):
            return Need(0, 0)
        anyone = self._bits[allow.any.name]
        return Need(anyone | self._bits[allow.own.name], anyone)

    def grants_of(self, roles: Iterable[str], method: Method) -> int:
        """The bits that these roles give to a caller who authenticated by `method`; unknown roles give none."""
        held = 0
        for role in roles:
            held |= self._masks.get(role, 0)
        return held & self._by_method[method]

    def held(self, holding: Holding, method: Method, factors: int) -> Held:
        """What a holding gives to a caller who authenticated by `method` with so many factors."""
        open_roles = [role for role in holding.roles if not self._asks_second_factor(role)]
        free = self.grants_of(open_roles, method) | self.grants_named(holding.grants) & self._by_method[method]
        whole = free | self.grants_of(holding.roles, method) | self.grants_named(holding.guarded) & self._by_method[method]
        return Held(whole, 0) if factors >= FACTORS or whole == free else Held(free, whole & ~free)

    def grants_named(self, names: Iterable[str]) -> int:
        """The bits of grants by their names (an API key's scopes); unknown names give none."""
        held = 0
        for name in names:
            held |= self._bits.get(name, 0)
        return held

    def declares(self, grant: str) -> bool:
        """Whether there is a grant of this name."""
        return grant in self._grants

    def permission_of(self, grant: str) -> str:
        """The name of the permission that this grant gives. Raises KeyError for a grant that there isn't."""
        return self._grants[grant].permission.name

    def implied(self, grants: Iterable[str]) -> tuple[str, ...]:
        """These grants with what they bring along: whoever reaches everyone's rows reaches their own. Unknown ones bring nothing."""
        found = (self._grants[name] for name in grants if name in self._grants)
        return tuple(dict.fromkeys(name for grant in found for name in (grant.name, grant.permission.own.name)))

    def names_of(self, grants: int) -> list[str]:
        """The names of the grants in these bits, sorted."""
        return sorted(name for name, bit in self._bits.items() if grants & bit)

    def _asks_second_factor(self, role: str) -> bool:
        declared = self._roles.get(role)
        return declared is not None and declared.second_factor

    def _add(self, permission: Permission) -> None:
        if permission.name in self._permissions:
            raise CannotStart(f"permission {permission.name!r} is declared twice")
        self._permissions[permission.name] = permission
        for grant in (permission.own, permission.any):
            self._grants[grant.name] = grant
            self._bits.setdefault(grant.name, 1 << len(self._bits))

    def _add_role(self, role: Role) -> None:
        if role.name in self._roles:
            raise CannotStart(f"role {role.name!r} is declared twice")
        self._roles[role.name] = role
        self._masks[role.name] = self._mask(role)

    def _mask(self, role: Role) -> int:
        if isinstance(role.grants, Everything):
            return (1 << len(self._bits)) - 1
        mask = 0
        for grant in role.grants:
            whole = Grant(grant) if isinstance(grant, Permission) else grant
            if whole.name not in self._bits:
                raise CannotStart(f"role {role.name!r} grants {whole.name!r}, which no domain declares")
            mask |= self._with_own(whole)
        return mask

    def _with_own(self, grant: Grant) -> int:
        """Whoever reaches everyone's rows reaches their own."""
        return self._bits[grant.name] | self._bits[grant.permission.own.name]

    def _usable_by(self, method: Method) -> int:
        return sum(
            self._bits[name]
            for permission in self._permissions.values()
            if method in permission.by or method is Method.SYSTEM
            for name in dict.fromkeys((permission.own.name, permission.any.name))
        )
