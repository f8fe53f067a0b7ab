"""What has happened."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from fortress.events import Fact


class EntryMade(Fact, frozen=True):
    """A client's operation was done. A sour one can't be handled until somebody has mended what it needs."""

    version: ClassVar[int] = 1

    account: UUID
    number: int
    sour: bool = False
