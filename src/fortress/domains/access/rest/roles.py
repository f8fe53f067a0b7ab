"""Roles and permissions: which there are, and making roles of them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from fortress.data import Page, PageQuery
from fortress.domains.access.contract import NotHeld, RoleDeclared, RoleExists, RoleHeld, TooManyRoles, UnknownRole
from fortress.domains.access.policy import READ, WRITE
from fortress.domains.access.service import RoleService, UsageService
from fortress.domains.access.service.defining import DeclaredPermission, RoleView, RoleWish
from fortress.domains.access.service.usage import USUAL_DAYS, UnusedGrant
from fortress.errors import StaleVersion
from fortress.http import Created, Input, delete, get, per_minute, post, put
from fortress.http.pages import PageInput
from fortress.security import Principal

# Starts and ends with something to be seen; nothing in it is hidden, breaks the line or turns the order of the letters round.
_HIDDEN: Final = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
_TITLE: Final = rf"^[^\s{_HIDDEN}]([^{_HIDDEN}]*[^\s{_HIDDEN}])?$"
Title = Annotated[str, Field(min_length=1, max_length=120, pattern=_TITLE)]
NewName = Annotated[str, Field(min_length=2, max_length=60, pattern=r"^[a-z][a-z0-9-]{1,59}$")]
GrantNames = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)]


class ChangeRole(Input):
    """All that a role is: what it is for, the names of the grants that it gives, and whether it asks for a second factor.

    `version` is the one that was read; with another one in force nothing is changed.
    """

    title: Title
    grants: GrantNames
    second_factor: bool = False
    version: Annotated[int, Field(ge=1, le=2**62)] | None = None


class MakeRole(Input):
    """A role to be made of grants that domains declare."""

    name: NewName
    title: Title
    grants: GrantNames
    second_factor: bool = False


class UnusedQuery(PageInput):
    """A page of what was not used for so many days."""

    days: int = Field(USUAL_DAYS, ge=1, le=3650, description="for how long it was not used")


@get("/roles", allow=READ, limit=per_minute(300))
async def list_roles(query: PageQuery, roles: RoleService, principal: Principal) -> Page[RoleView]:
    """List the roles by name, declared and made."""
    return await roles.recent(query, principal)


@post("/roles", allow=WRITE, limit=per_minute(60), errors=[NotHeld, RoleExists, TooManyRoles])
async def make_role(data: MakeRole, roles: RoleService, principal: Principal) -> Created[RoleView]:
    """Make a role of declared permissions."""
    made = await roles.make(RoleWish(data.name, data.title, tuple(data.grants), data.second_factor), principal)
    return Created(made, at=f"/roles/{made.name}")


@get("/roles/unused", allow=READ, limit=per_minute(60))
async def list_unused(query: UnusedQuery, usage: UsageService, principal: Principal) -> Page[UnusedGrant]:
    """List what people hold, beyond what everyone does, and have not used for so many days.

    A page may be shorter than asked for and still have a next one.
    """
    return await usage.unused(PageQuery(query.limit, query.cursor), query.days, principal)


@get("/roles/{role:str}", allow=READ, limit=per_minute(600), errors=[UnknownRole])
async def read_role(role: str, roles: RoleService) -> RoleView:
    """Read a role."""
    return await roles.read(role)


@put("/roles/{role:str}", allow=WRITE, limit=per_minute(60), errors=[NotHeld, UnknownRole, RoleDeclared, StaleVersion])
async def change_role(role: str, data: ChangeRole, roles: RoleService, principal: Principal) -> RoleView:
    """Replace what a role is that was made at run time; holds for whoever has it within a second."""
    wish = RoleWish(role, data.title, tuple(data.grants), data.second_factor)
    return await roles.change(wish, principal, version=data.version)


@delete("/roles/{role:str}", allow=WRITE, limit=per_minute(60), errors=[NotHeld, UnknownRole, RoleDeclared, RoleHeld])
async def remove_role(role: str, roles: RoleService, principal: Principal) -> None:
    """Remove a role that was made at run time and that nobody holds."""
    await roles.remove(role, principal)


@get("/permissions", allow=READ, limit=per_minute(300))
async def list_permissions(roles: RoleService) -> Page[DeclaredPermission]:
    """List the permissions."""
    return Page(roles.declared_permissions(), None)
