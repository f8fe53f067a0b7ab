"""Limits counted in this process: for tests, and for the local share while the real store is away."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from fortress.clock import Clock
from fortress.limits import gcra
from fortress.limits.gcra import MICROSECONDS, Bucket, Rate
from fortress.limits.store import StoreFull, Taken, taken

MAX_KEYS: Final = 50_000
# A full map looks at so many keys for each new one: the cost of a flood of new keys is bounded too.
LOOKED_AT: Final = 32
SWEPT: Final = 1000


class MemoryStore:
    """A bounded map of buckets.

    When it is full it drops buckets that have become full again; while none has, new keys are denied. Forgetting
    a live key would hand its caller a fresh quota, which is what a flood of made-up keys would be for.
    """

    def __init__(self, clock: Clock, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        # A bucket, and the moment from which it is as good as none.
        self._buckets: OrderedDict[bytes, tuple[Bucket, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    async def take(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
        return self.take_now(key, rate, wanted, least, returned)

    async def ping(self) -> None:
        return None

    async def sweep(self) -> int:
        return self._drop_idle(SWEPT)

    def take_now(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
        """The same as `take`, for callers that must not wait.

        Raises:
            StoreFull: no room for a new key.
        """
        now = self._now()
        known = self._buckets.get(key)
        if known is None and len(self._buckets) >= self._max_keys and not self._drop_idle(LOOKED_AT):
            raise StoreFull
        step = gcra.take(rate, known and known[0], now, wanted, least, returned)
        self._buckets[key] = step.bucket, max(step.bucket.tat, step.bucket.taken + rate.life)
        return taken(rate, step.granted, step.used, least)

    def owed(self, key: bytes, rate: Rate) -> int:
        """Tokens that were taken from `key` and have not come back yet, rounded up."""
        known = self._buckets.get(key)
        return -(-gcra.used_at(rate, known[0], self._now()) // rate.emission) if known else 0

    def forget(self, key: bytes) -> None:
        self._buckets.pop(key, None)

    def _drop_idle(self, looked_at: int) -> int:
        """Go through the oldest keys, move the live ones to the end and drop the others."""
        now, dropped = self._now(), 0
        for _ in range(min(looked_at, len(self._buckets))):
            key, (_, full_at) = next(iter(self._buckets.items()))
            if full_at <= now:
                del self._buckets[key]
                dropped += 1
            else:
                self._buckets.move_to_end(key)
        return dropped

    def _now(self) -> int:
        return round(self._clock.monotonic() * MICROSECONDS)
