"""API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Text, desc


class ApiKey(Entity, frozen=True):
    """A key by which a service acts for its owner, within these scopes and what the owner may do at that moment.

    Attributes:
        prefix: the start of the key, by which people tell keys apart.
        digest: SHA-256 of the key.
        used_at: when it was last seen, to the hour or so.
    """

    __tablename__ = "api_keys"
    __indexes__ = (Index("idx_api_keys_user", "user_id", desc("created_at"), desc("id"), where="revoked_at IS NULL"),)

    id: Key
    user_id: Owner
    name: Annotated[str, Text(80)]
    prefix: Annotated[str, Text(40)]
    digest: bytes
    scopes: tuple[str, ...]
    created_at: CreatedAt
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
