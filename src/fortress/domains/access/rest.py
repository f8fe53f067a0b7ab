"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from pydantic import Field

from fortress.data import Page
from fortress.domains.access.contract import LastAdministrator, NotAHolder, NotHeld
from fortress.domains.access.policy import ASSIGN, READ
from fortress.domains.access.service import AccessService, DeclaredPermission, DeclaredRole
from fortress.http import Input, get, per_minute, put
from fortress.security import Principal

RoleName = Annotated[str, Field(min_length=1, max_length=60)]


class ReplaceRoles(Input):
    """All roles that the person shall hold."""

    roles: Annotated[list[RoleName], Field(max_length=50)]


class HeldRoles(msgspec.Struct, frozen=True):
    """The roles that a person holds."""

    user_id: UUID
    roles: tuple[str, ...]


@get("/roles", allow=READ, limit=per_minute(300))
async def list_roles(access: AccessService) -> Page[DeclaredRole]:
    """List the roles."""
    return Page(access.declared_roles(), None)


@get("/permissions", allow=READ, limit=per_minute(300))
async def list_permissions(access: AccessService) -> Page[DeclaredPermission]:
    """List the permissions."""
    return Page(access.declared_permissions(), None)


@put("/users/{user_id:uuid}/roles", allow=ASSIGN, limit=per_minute(60), errors=[NotAHolder, NotHeld, LastAdministrator])
async def replace_roles(user_id: UUID, data: ReplaceRoles, access: AccessService, principal: Principal) -> HeldRoles:
    """Decide which roles a user holds."""
    return HeldRoles(user_id, await access.replace_roles(user_id, data.roles, principal))
