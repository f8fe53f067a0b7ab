"""The port behind which limits are counted: PostgreSQL, Redis or memory, all with the same arithmetic and the same tests."""

from __future__ import annotations

from typing import Protocol

import msgspec

from fortress.limits.gcra import MICROSECONDS, Rate


class StoreFull(Exception):
    """The store keeps as many keys as it may, all of them alive; a new key is denied rather than a live one forgotten."""


class Taken(msgspec.Struct, frozen=True):
    """What a take gave.

    Attributes:
        granted: tokens, debited already.
        remaining: tokens left in the bucket.
        reset_after: seconds until the bucket is full.
        retry_after: seconds until what was refused may be had; 0 when something was granted.
    """

    granted: int
    remaining: int
    reset_after: float
    retry_after: float


class LimitStore(Protocol):
    """Counts tokens for keys. Every method is one round trip at most, and may raise whatever its driver raises."""

    async def take(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
        """Give back and debit tokens in one atomic step on the store's own clock, as gcra.take says.

        Raises:
            StoreFull: no room for a new key.
            ValueError: not 1 ≤ least ≤ wanted though something is taken, or less than nothing is returned.
        """
        ...

    async def ping(self) -> None:
        """Raises when the store can't count just now."""
        ...

    async def sweep(self) -> int:
        """Forget keys that have been full for a while, a bounded batch of them; how many. Repeat while it is not 0."""
        ...


def taken(rate: Rate, granted: int, used: int, least: int) -> Taken:
    """A store's two figures, said in tokens and seconds."""
    lacking = 0 if granted else max(0, used + least * rate.emission - rate.burst)
    return Taken(granted, (rate.burst - used) // rate.emission, used / MICROSECONDS, lacking / MICROSECONDS)
