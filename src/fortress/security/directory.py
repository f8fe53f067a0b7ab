"""The port through which verifiers learn who stands behind a session or an API key; the identity domain implements it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec


class KnownCaller(msgspec.Struct, frozen=True):
    """A person whose session stands.

    Attributes:
        roles: names of the roles held now.
        until: when the session ends by itself.
    """

    user: UUID
    session: UUID
    roles: tuple[str, ...]
    until: datetime


class KnownKey(msgspec.Struct, frozen=True):
    """An API key that stands, and whose owner is active.

    Attributes:
        digest: SHA-256 of the key.
        roles: names of the owner's roles.
        scopes: names of the grants that the key may use of the owner's.
        until: when it ends by itself, if ever.
    """

    owner: UUID
    key: UUID
    digest: bytes
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    until: datetime | None

    def __repr__(self) -> str:
        return f"KnownKey({self.key})"


class AdministratorKeeper(Protocol):
    """Sees to it that somebody may do everything."""

    async def ensure_administrator(self, email: str, password: str | None) -> str | None:
        """Have an administrator of that address, made once.

        Returns:
            The password, when one was made up just now.
        """
        ...


class CallerDirectory(Protocol):
    """Knows sessions and API keys as they are in the database now."""

    async def caller_of_session(self, session: UUID, user: UUID) -> KnownCaller | None:
        """The person, when the session is theirs, alive, and they are active."""
        ...

    async def caller_of_key(self, key: UUID) -> KnownKey | None:
        """The key, when it is alive and its owner active."""
        ...

    async def key_seen(self, key: UUID) -> None:
        """Remember that a key was used; cheap to call again."""
        ...
