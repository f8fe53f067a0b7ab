"""The tables. One declaration is the stored value, the table and the wire shape."""

from __future__ import annotations

from datetime import datetime

from fortress.data import Entity, Index, Key, Version


class RoleHolder(Entity, frozen=True):
    """A person and the roles that they hold; one row each, so that a change of roles is a change of one row.

    Attributes:
        suspended: True while the roles are out of use.
    """

    __tablename__ = "role_holders"
    __indexes__ = (Index("idx_role_holders_administrators", "user_id", where="'admin' = ANY (roles) AND NOT suspended"),)

    user_id: Key
    roles: tuple[str, ...]
    suspended: bool
    changed_at: datetime
    version: Version
