"""Where wrapped keys are kept: one for each person, and one for each blind index."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from fortress.data.columns import CreatedAt, Key
from fortress.data.entity import Entity, Index, Unique
from fortress.data.refusals import Contended


class DataKeyRow(Entity, frozen=True):
    """One version of one person's key.

    Attributes:
        key_id: of the key that wraps it.
        wrapped: None once it is destroyed; the row stays, so that no other key is made for this person.
    """

    __tablename__ = "data_keys"
    # Two who make somebody's first key at once: the second one starts over, and finds it.
    __indexes__ = (
        Unique("data_keys_subject_version", "subject", "version", raises=Contended),
        Index("idx_data_keys_key", "key_id", where="wrapped IS NOT NULL"),
    )

    id: Key
    subject: UUID
    version: int
    key_id: str
    wrapped: bytes | None
    created_at: CreatedAt
    destroyed_at: datetime | None


class IndexState(StrEnum):
    """NEXT is compared with and does not index yet; ACTIVE indexes; RETIRED is only compared with."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"


class IndexKeyRow(Entity, frozen=True):
    """One version of the key of one blind index; `purpose` is its `table.column`."""

    __tablename__ = "index_keys"
    __indexes__ = (
        Unique("index_keys_purpose_version", "purpose", "version", raises=Contended),
        Unique("index_keys_active", "purpose", raises=Contended, where="state = 'active'"),
    )

    id: Key
    purpose: str
    version: int
    state: IndexState
    key_id: str
    wrapped: bytes
    created_at: CreatedAt
