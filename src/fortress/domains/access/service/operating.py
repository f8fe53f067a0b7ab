"""Roles as an operator's shell works on them: as the system, and by steps rather than as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from fortress.data import PageQuery
from fortress.data.pages import LARGEST
from fortress.domains.access.contract import UnknownPermission, UnknownRole
from fortress.domains.access.service.assigning import AccessService
from fortress.domains.access.service.defining import DeclaredPermission, RoleService, RoleView, RoleWish
from fortress.domains.access.service.explaining import ExplainService, Explanation
from fortress.domains.access.service.holdings import Assignment
from fortress.domains.access.service.usage import UnusedGrant, UsageService
from fortress.security import SYSTEM

# Of a list that is printed at once.
MOST: Final = 10_000


class RoleOperations:
    """What `fortress role` asks for."""

    def __init__(self, access: AccessService, roles: RoleService, explaining: ExplainService, usage: UsageService) -> None:
        self._access = access
        self._roles = roles
        self._explaining = explaining
        self._usage = usage

    async def every_role(self) -> list[RoleView]:
        """All of them, by name."""
        found: list[RoleView] = []
        cursor: str | None = None
        while True:
            page = await self._roles.recent(PageQuery(LARGEST, cursor), SYSTEM)
            found += page.items
            cursor = page.next
            if cursor is None:
                return found

    async def every_permission(self) -> list[DeclaredPermission]:
        """All of them, by name."""
        return self._roles.declared_permissions()

    async def role(self, name: str) -> RoleView:
        """The role of this name. Raises UnknownRole."""
        return await self._roles.read(name)

    async def make_role(self, name: str, title: str, grants: Sequence[str], *, second_factor: bool) -> RoleView:
        """A new role. Raises UnknownPermission, naming the grant that there isn't, and as `RoleService.make` does."""
        self._refuse_unknown_grants(grants)
        return await self._roles.make(RoleWish(name, title, tuple(grants), second_factor), SYSTEM)

    async def change_role(
        self,
        name: str,
        *,
        title: str | None,
        given: Sequence[str],
        taken: Sequence[str],
        second_factor: bool | None,
    ) -> RoleView:
        """The role with another title, these grants more and those fewer. Raises UnknownPermission, and as `RoleService.change` does."""
        self._refuse_unknown_grants(given)
        role = await self._roles.read(name)
        grants = [grant for grant in (*role.grants, *given) if grant not in taken]
        factor = role.second_factor if second_factor is None else second_factor
        wish = RoleWish(name, role.title if title is None else title, tuple(grants), factor)
        return await self._roles.change(wish, SYSTEM, version=role.version)

    async def remove_role(self, name: str) -> None:
        """Remove it. Raises as `RoleService.remove` does."""
        await self._roles.remove(name, SYSTEM)

    async def roles_of_person(self, person: UUID) -> tuple[Assignment, ...]:
        """The roles that this person holds, and until when. Raises NotAHolder."""
        return await self._access.assignments_of(person)

    async def assign_roles(
        self, person: UUID, given: Sequence[str], taken: Sequence[str], until: datetime | None
    ) -> tuple[Assignment, ...]:
        """Give some roles, until then, and take others. Raises UnknownRole, and as `AccessService.replace_roles` does."""
        await self._refuse_unknown_roles(given)
        moved = {*given, *taken}
        kept = [one for one in await self._access.assignments_of(person) if one.name not in moved]
        wanted = [*kept, *(Assignment(name, until) for name in dict.fromkeys(given) if name not in taken)]
        return await self._access.replace_roles(person, wanted, SYSTEM)

    async def explain_permission(self, person: UUID, permission: str) -> Explanation:
        """Why this person may, or what is missing. Raises NotAHolder, UnknownPermission."""
        return await self._explaining.explain(person, permission)

    async def unused_grants(self, days: int) -> list[UnusedGrant]:
        """What people hold beyond what everyone does and have not used for so many days; at most MOST."""
        found: list[UnusedGrant] = []
        cursor: str | None = None
        while len(found) < MOST:
            page = await self._usage.unused(PageQuery(LARGEST, cursor), days, SYSTEM)
            found += page.items
            cursor = page.next
            if cursor is None:
                break
        return found

    def _refuse_unknown_grants(self, names: Sequence[str]) -> None:
        known = {grant for permission in self._roles.declared_permissions() for grant in permission.grants}
        for name in names:
            if name not in known:
                raise UnknownPermission(f"There is no grant {name!r}.")

    async def _refuse_unknown_roles(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                await self._roles.read(name)
            except UnknownRole:
                raise UnknownRole(f"There is no role {name!r}.") from None
