"""Where people have signed in from."""

from __future__ import annotations

from datetime import datetime

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Unique


class KnownDevice(Entity, frozen=True):
    """A browser or program, in a network, that an account has been signed in to from. Neither can be read out of the row.

    Attributes:
        digest: keyed digest of the person, the agent and the network.
        place: keyed digest of the person and the network alone.
    """

    __tablename__ = "known_devices"
    __indexes__ = (Unique("known_devices_digest", "user_id", "digest"), Index("idx_known_devices_seen", "last_seen_at"))

    id: Key
    user_id: Owner
    digest: bytes
    place: bytes
    first_seen_at: CreatedAt
    last_seen_at: datetime
