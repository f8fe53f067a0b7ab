"""How long what was read once may be believed: long while news of a change would be heard, a moment while it might not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fortress.clock import Clock

# While news arrives; it bounds how long keys stay in memory that nobody uses.
LIFETIME_SECONDS: Final = 300.0
# Without news: with what is on its way, an erasure is still known everywhere within a second.
MOMENT_SECONDS: Final = 0.5


class Belief:
    """Says since when something must have been read to be believed now.

    Args:
        clock: only its `monotonic`.
    """

    __slots__ = ("_certain", "_monotonic")

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._certain: Callable[[], bool] = _never

    def trust(self, certain: Callable[[], bool]) -> None:
        """From now on news arrives whenever `certain` says so."""
        self._certain = certain

    def now(self) -> float:
        return self._monotonic()

    def since(self) -> float:
        return self._monotonic() - (LIFETIME_SECONDS if self._certain() else MOMENT_SECONDS)


def _never() -> bool:
    return False
