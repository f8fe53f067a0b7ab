"""The tables: what was asked for, and what came of it. Nothing in them is unique, so that twice shows as twice."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fortress.data import CreatedAt, Entity, Generated, Key, Text


class Entry(Entity, frozen=True):
    """One operation of a client."""

    __tablename__ = "entries"

    id: Key
    account: UUID
    number: int
    created_at: CreatedAt


class Effect(Entity, frozen=True):
    """What somebody did when they heard of an entry.

    Attributes:
        place: who.
        position: the order in which it was written.
    """

    __tablename__ = "effects"

    id: Key
    place: Annotated[str, Text(40)]
    account: UUID
    number: int
    created_at: CreatedAt
    position: Generated[int] = 0
