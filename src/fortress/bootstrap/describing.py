"""What a project serves, worked out without serving it."""

from __future__ import annotations

from typing import Any

from fortress.bootstrap.assembly import Assembly
from fortress.clock import Clock
from fortress.http.endpoint import Endpoint
from fortress.http.table import RouteTable


class _Unmeasured:
    """Counts nothing, for nothing is served."""

    def observe(self, status: int, seconds: float) -> None:
        """Nobody asks."""


def described(assembly: Assembly, clock: Clock) -> list[Endpoint]:
    """The endpoints of every version. Their handlers have no services: they are for reading, not for calling."""
    table = RouteTable(
        assembly.routes,
        current=assembly.current,
        permissions=assembly.permissions,
        provide=_no_service,
        measure=lambda _method, _template: _Unmeasured(),
        max_body=0,
        passages=assembly.passages,
        clock=clock,
    )
    return table.endpoints


def _no_service(_kind: type[Any]) -> None:
    return None
