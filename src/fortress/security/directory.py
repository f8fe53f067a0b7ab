"""The port through which verifiers learn who stands behind a session or an API key; the identity domain implements it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from fortress.security.principal import Network


class Holding(msgspec.Struct, frozen=True):
    """What somebody holds now.

    Attributes:
        roles: names of the declared roles in use.
        grants: names of what roles made at run time grant.
        guarded: the same, of such roles as ask for a second factor.
        until: when the first of all these ends by itself; None: none does.
    """

    roles: tuple[str, ...]
    grants: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()
    until: datetime | None = None


class KnownCaller(msgspec.Struct, frozen=True):
    """A person whose session stands.

    Attributes:
        until: when the session ends by itself.
        proved_at: when they last proved who they are.
        factors: how many factors the session was proved with.
    """

    user: UUID
    session: UUID
    holding: Holding
    until: datetime
    proved_at: datetime
    factors: int


class PreviousKey(msgspec.Struct, frozen=True):
    """What a key was before it was rotated, while that still works: its SHA-256, and until when."""

    digest: bytes
    until: datetime

    def __repr__(self) -> str:
        return f"PreviousKey(until={self.until})"


class KnownKey(msgspec.Struct, frozen=True):
    """An API key that stands, and whose owner is active.

    Attributes:
        digest: SHA-256 of the key.
        holding: what the owner holds.
        scopes: names of the grants that the key may use of the owner's.
        until: when it ends by itself, if ever.
        networks: where it may be used from; empty: anywhere.
        previous: the one before it, which still works.
    """

    owner: UUID
    key: UUID
    digest: bytes
    holding: Holding
    scopes: tuple[str, ...]
    until: datetime | None
    networks: tuple[Network, ...] = ()
    previous: PreviousKey | None = None

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

    async def key_seen(self, key: UUID, *, previous: bool = False) -> None:
        """Remember that a key was used, or the one before it; cheap to call again."""
        ...

    async def key_refused(self, owner: UUID, key: UUID) -> None:
        """Write down that a good key was used from an address that it is not for."""
        ...
