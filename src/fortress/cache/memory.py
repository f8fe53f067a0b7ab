"""What all shelves of a process share: the room they have, the clock, Redis, and whether news of changes would arrive."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from fortress.background import Background
from fortress.cache.plan import Plan
from fortress.cache.remote import Shared
from fortress.cache.shelf import Shelf
from fortress.clock import Clock

# Of the room; a larger answer is not kept.
_LARGEST_SHARE: Final = 8


class Memory:
    """The room of one process.

    Args:
        room: bytes that all answers together may take, by estimate.
        patience: seconds that a load may take.
        shared: the answers that all processes share; None: there is no Redis.
        draw: a random number in [0, 1).

    Attributes:
        bytes: taken.
        shelves: by name of their declaration.
        certain_until: until when all news of changes that is not of just now will have been heard, unless there is a doubt before.
        sure_until: what that said when it was last asked.
    """

    def __init__(
        self,
        *,
        room: int,
        patience: float,
        clock: Clock,
        background: Background,
        shared: Shared | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.bytes = 0
        self.largest = room // _LARGEST_SHARE
        self.patience = patience
        self.shared = shared
        self.background = background
        self.draw = draw
        self.monotonic = clock.monotonic
        self.certain_until: Callable[[], float] = _never
        self.sure_until = _never()
        self.shelves: dict[str, Shelf] = {}
        self._room = room

    @property
    def keeps(self) -> bool:
        """Whether there is anything to keep, and room for it."""
        return self._room > 0 and bool(self.shelves)

    def shelf(self, plan: Plan) -> Shelf:
        """The shelf of this declaration."""
        return self.shelves.setdefault(plan.name, Shelf(plan, self))

    def sure(self, now: float) -> bool:
        """Whether news of changes would arrive."""
        self.sure_until = self.certain_until()
        return now < self.sure_until

    def reliable(self) -> Shared | None:
        """Redis, where there is one; nothing while news might be missed, for then nobody knows what there is stale."""
        return self.shared if self.shared is not None and self.sure(self.monotonic()) else None

    def fit(self) -> None:
        """Let the fullest shelves drop what they used least lately, until everything has room. O(shelves) for each drop."""
        while self.bytes > self._room:
            max(self.shelves.values(), key=lambda shelf: shelf.bytes).evict()


def _never() -> float:
    return float("-inf")
