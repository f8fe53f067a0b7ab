"""Facts, past tense, versioned. All that other domains may hear of us."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from fortress.events import Fact


class RolesChanged(Fact, frozen=True):
    """A person's roles are others than before."""

    version: ClassVar[int] = 1
    user_id: UUID
    roles: tuple[str, ...]
