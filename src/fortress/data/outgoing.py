"""What a unit has not sent yet."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from fortress.data.entity import Entity, Shape
from fortress.data.queue import JobEntry


class Held(msgspec.Struct, frozen=True):
    """An UPDATE or DELETE that waits for the rest of its unit, with its values.

    Attributes:
        key: of the only row that it may write; None: it may be any.
    """

    statement: Any
    given: dict[str, Any]
    shapes: tuple[Shape, ...]
    key: UUID | None


class Outgoing:
    """New rows, changes that nobody waits for, jobs and notices.

    Attributes:
        guard: the change without which nothing of it may happen.
    """

    __slots__ = ("changes", "guard", "jobs", "notices", "rows")

    def __init__(self) -> None:
        self.rows: list[Entity] = []
        self.changes: list[Held] = []
        self.jobs: list[JobEntry] = []
        self.notices: list[str] = []
        self.guard: Held | None = None

    def __bool__(self) -> bool:
        return bool(self.rows or self.notices or self.jobs or self.changes or self.guard)

    @property
    def held(self) -> list[Held]:
        """The guard, if there is one, and the changes."""
        return self.changes if self.guard is None else [self.guard, *self.changes]
