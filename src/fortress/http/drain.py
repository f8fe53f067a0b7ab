"""Whether this server process is leaving: the one thing that the gate and readiness must know of a stop."""

from __future__ import annotations


class DrainState:
    """Set once when the process is told to stop; answers close their connections from then on, and readiness is 503.

    Requests under way need no count here: the server waits for them before it ends the app's lifespan.
    """

    __slots__ = ("_draining",)

    def __init__(self) -> None:
        self._draining = False

    def draining(self) -> bool:
        """True from the first signal to the end of the process."""
        return self._draining

    def begin(self) -> None:
        """The process is leaving. Doing it again changes nothing."""
        self._draining = True
