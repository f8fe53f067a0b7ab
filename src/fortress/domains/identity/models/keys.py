"""API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fortress.data import CreatedAt, Default, Entity, Index, Key, Owner, Text, desc


class ApiKey(Entity, frozen=True):
    """A key by which a service acts, within these scopes and what its owner may do at that moment.

    Attributes:
        user_id: whose it is: a person's, or a service account's.
        prefix: the start of the key, by which people tell keys apart; it stays when the key is rotated.
        digest: SHA-256 of the key.
        used_at: when it was last seen, to the hour or so.
        networks: where it may be used from; none: anywhere.
        rotated_at: since when this is the key; None: since it was made.
        previous_digest: SHA-256 of the key before it, which works until `previous_until`.
        previous_used_at: when that one was last seen.
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
    networks: Annotated[tuple[str, ...], Default("'{}'")] = ()
    rotated_at: datetime | None = None
    previous_digest: bytes | None = None
    previous_until: datetime | None = None
    previous_used_at: datetime | None = None
