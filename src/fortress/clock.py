"""Time and ids, injected so that tests can hold them still.

Nothing else in Fortress reads the system clock or makes an id.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

_RANDOM_BITS = 74
_RANDOM_A_BITS = 12
_RANDOM_B_BITS = 62
_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The moment, in UTC and timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...


class Ids(Protocol):
    """Where the ids come from."""

    def new(self) -> UUID:
        """A new UUIDv7 (RFC 9562): sorts by the time it was made; not a secret."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class TimeOrderedIds:
    """UUIDv7 from a clock (RFC 9562 §5.7)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self) -> UUID:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        noise = secrets.randbits(_RANDOM_BITS)
        high = noise >> _RANDOM_B_BITS
        low = noise & ((1 << _RANDOM_B_BITS) - 1)
        return UUID(int=milliseconds << 80 | _VERSION_7 | high << 64 | _VARIANT_RFC | low)


class FixedClock:
    """A clock that stands still until it is told to move; for tests."""

    def __init__(self, at: datetime) -> None:
        self._now = at
        self._ticks = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._ticks

    def advance(self, by: timedelta) -> None:
        self._now += by
        self._ticks += by.total_seconds()
