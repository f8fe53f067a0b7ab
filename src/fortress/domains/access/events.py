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


class RoleMade(Fact, frozen=True):
    """There is a new role."""

    version: ClassVar[int] = 1
    role_id: UUID
    name: str


class RoleChanged(Fact, frozen=True):
    """A role grants something else than before."""

    version: ClassVar[int] = 1
    role_id: UUID
    name: str


class RoleRemoved(Fact, frozen=True):
    """A role that was made at run time is gone."""

    version: ClassVar[int] = 1
    role_id: UUID
    name: str
