"""Keeps a store or service that fails from being asked for every request."""

from __future__ import annotations

from typing import Final

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0


class Breaker:
    """Closed while calls succeed. A failure opens it for a pause; when that is over one call passes as a probe, and the
    pause doubles unless the probe succeeds.

    Args:
        failures: so many in a row open it.
        first, longest: seconds of a pause.
    """

    __slots__ = ("_bearable", "_failures", "_first", "_longest", "_pause", "_until")

    def __init__(self, *, failures: int = 1, first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._bearable = failures
        self._first = first
        self._longest = longest
        self._failures = 0
        self._pause = 0.0
        self._until = 0.0

    def paused(self, now: float) -> bool:
        """Is it certain that nobody may ask at `now` (seconds)?"""
        return self._pause > 0 and now < self._until

    def admits(self, now: float) -> bool:
        """May somebody ask at `now`? Who is told so must ask: it may be the probe."""
        if self.paused(now):
            return False
        if not self._pause:
            return True
        self._pause = min(self._longest, self._pause * 2)
        self._until = now + self._pause
        return True

    def failed(self, now: float) -> None:
        """Calls that began before it opened fail too, and a probe has doubled the pause already: those count no more."""
        self._failures += 1
        if not self._pause and self._failures >= self._bearable:
            self._pause = self._first
            self._until = now + self._first

    def succeeded(self) -> None:
        self._failures = 0
        self._pause = 0.0
