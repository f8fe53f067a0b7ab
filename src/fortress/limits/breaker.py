"""Keeps a store that fails from being asked for every request."""

from __future__ import annotations

from typing import Final

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0


class Breaker:
    """Closed while calls succeed. A failure opens it for a pause; when that is over one call passes as a probe, and the
    pause doubles unless the probe succeeds.
    """

    __slots__ = ("_pause", "_until")

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = 0.0

    def paused(self, now: float) -> bool:
        """Is it certain that the store may not be asked at `now` (seconds)?"""
        return self._pause > 0 and now < self._until

    def admits(self, now: float) -> bool:
        """May the store be asked at `now`? Who is told so must ask: it may be the probe."""
        if self.paused(now):
            return False
        if not self._pause:
            return True
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        self._until = now + self._pause
        return True

    def failed(self, now: float) -> None:
        """Calls that began before the first failure fail too, and a probe has doubled the pause already: one failure counts."""
        if not self._pause:
            self._pause = FIRST_PAUSE
            self._until = now + FIRST_PAUSE

    def succeeded(self) -> None:
        self._pause = 0.0
