"""Who holds which roles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, WithJsonSchema

from fortress.domains.access.contract import LastAdministrator, NotAHolder, NotHeld
from fortress.domains.access.policy import ASSIGN, READ
from fortress.domains.access.service import AccessService
from fortress.domains.access.service.assigning import MOST
from fortress.domains.access.service.holdings import Assignment
from fortress.errors import StaleVersion
from fortress.http import Input, get, minutes, per_minute, put
from fortress.security import Principal

LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 60}
_SAID: Final[dict[str, Any]] = {
    "anyOf": [
        _NAME,
        {
            "type": "object",
            "properties": {"name": _NAME, "expires_at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}},
            "required": ["name"],
            "additionalProperties": False,
        },
    ]
}


_read_moment: Final = TypeAdapter(datetime).validate_strings


def _moment(value: object) -> object:
    """RFC 3339; read here, because what follows `_named` is no longer JSON to pydantic, and strictly only a datetime is one."""
    return _read_moment(value) if isinstance(value, str) else value


class AssignRole(Input):
    """A role by its name, and when it ends by itself; without that it does not."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    expires_at: Annotated[AwareDatetime | None, Field(le=LAST), BeforeValidator(_moment)] = None


def _named(value: object) -> object:
    """The name alone means the role without an end."""
    return {"name": value} if isinstance(value, str) else value


class ReplaceRoles(Input):
    """All roles that the person shall hold: each by its name, or as an object with an end."""

    roles: Annotated[list[Annotated[AssignRole, BeforeValidator(_named), WithJsonSchema(_SAID)]], Field(max_length=MOST)]


class HeldRoles(msgspec.Struct, frozen=True, omit_defaults=True):
    """The roles that a person holds; `expires` says when those end that do so by themselves, and is left out when none does."""

    user_id: UUID
    roles: tuple[str, ...]
    expires: dict[str, datetime] = {}


@get("/users/{user_id:uuid}/roles", allow=READ, limit=per_minute(300), errors=[NotAHolder])
async def read_roles_of_user(user_id: UUID, access: AccessService) -> HeldRoles:
    """Read which roles a user holds."""
    return _view(user_id, await access.assignments_of(user_id))


@put(
    "/users/{user_id:uuid}/roles",
    allow=ASSIGN,
    limit=per_minute(60),
    fresh=minutes(15),
    errors=[NotAHolder, NotHeld, LastAdministrator, StaleVersion],
)
async def replace_roles(user_id: UUID, data: ReplaceRoles, access: AccessService, principal: Principal) -> HeldRoles:
    """Decide which roles a user holds, and until when."""
    wanted = [Assignment(one.name, one.expires_at) for one in data.roles]
    return _view(user_id, await access.replace_roles(user_id, wanted, principal))


def _view(user_id: UUID, assignments: tuple[Assignment, ...]) -> HeldRoles:
    expires = {one.name: one.expires_at for one in assignments if one.expires_at is not None}
    return HeldRoles(user_id, tuple(one.name for one in assignments), expires)
