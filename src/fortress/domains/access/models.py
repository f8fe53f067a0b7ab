"""The tables. One declaration is the stored value, the table and the wire shape."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fortress.data import Check, CreatedAt, Default, Entity, Index, Key, References, Text, Unique, Version
from fortress.domains.access.contract import RoleExists


class RoleHolder(Entity, frozen=True):
    """A person, or a service account, and the roles that they hold; one row each, so that a change of roles is a change of one row.

    Attributes:
        suspended: True while the roles are out of use.
        expires: when those of the roles end that end by themselves.
        ends_at: when the first of them does; what upkeep looks for. Nothing is decided by it.
        service: True for a service account, which has no role that it was not given, and never the administrator's.
    """

    __tablename__ = "role_holders"
    __indexes__ = (
        Index("idx_role_holders_administrators", "user_id", where="'admin' = ANY (roles) AND NOT suspended"),
        Index("idx_role_holders_ends", "ends_at", where="ends_at IS NOT NULL"),
    )

    user_id: Key
    roles: tuple[str, ...]
    suspended: bool
    changed_at: datetime
    version: Version
    expires: Annotated[dict[str, datetime], Default("'{}'::jsonb")]
    ends_at: datetime | None
    service: Annotated[bool, Default("false")] = False


class CustomRole(Entity, frozen=True):
    """A role made at run time of permissions that the domains declare.

    Attributes:
        grants: names of grants. One that no domain declares any more gives nothing.
        second_factor: whether it counts only in sessions that were proved with two factors.
    """

    __tablename__ = "custom_roles"
    __indexes__ = (
        Unique("custom_roles_name_key", "name", raises=RoleExists),
        Check("ck_custom_roles_form", "name ~ '^[a-z][a-z0-9-]{1,59}$'"),
    )

    id: Key
    name: str
    title: Annotated[str, Text(120)]
    grants: tuple[str, ...]
    second_factor: bool
    created_at: CreatedAt
    changed_at: datetime
    version: Version


class PermissionUse(Entity, frozen=True):
    """On which day a person last used a grant, that everyone has by default not counted."""

    __tablename__ = "permission_uses"
    __indexes__ = (Unique("permission_uses_user_grant_key", "user_id", "grant_name"),)

    id: Key
    user_id: Annotated[UUID, References("role_holders.user_id", on_delete="CASCADE")]
    grant_name: Annotated[str, Text(200)]
    last_used: date
