"""Where the limiter tells what it does, for metrics."""

from __future__ import annotations

from typing import Protocol

from fortress.limits.policy import Limit


class Observer(Protocol):
    """Counts. Called on the request's way, so it has to be quick and must not raise."""

    def on_round_trip(self, seconds: float, /) -> None:
        """The store was asked and answered."""
        ...

    def on_store_error(self, error: Exception, /) -> None:
        """The store was asked and failed, or took too long."""
        ...

    def on_fallback(self, limit: Limit, /) -> None:
        """A request was decided by this worker's own share."""
        ...


class Silent:
    """An observer that counts nothing."""

    def on_round_trip(self, _seconds: float, /) -> None:
        return None

    def on_store_error(self, _error: Exception, /) -> None:
        return None

    def on_fallback(self, _limit: Limit, /) -> None:
        return None
