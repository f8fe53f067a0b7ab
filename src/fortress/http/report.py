"""Where the gate tells what happened: one line and two counters for a request, a full trace for a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

_log = structlog.get_logger("fortress.http")


class Reporter:
    """Tells logs and metrics.

    Args:
        line: writes one request's line.
        refused: counts one refusal by its code.
    """

    def __init__(self, line: Callable[[dict[str, Any]], None], refused: Callable[[str], None]) -> None:
        self.request = line
        self.refused = refused

    def fault(self, error: BaseException) -> None:
        """An error that nobody foresaw, with its trace; the client learns only the request's id."""
        _log.error("request.fault", error=type(error).__name__, exc_info=error)
