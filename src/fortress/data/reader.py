"""Readers: what may read, on whose behalf. Nothing here can write."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import asyncpg

from fortress.data.connections import ReadConnections
from fortress.data.cursor import Cursors
from fortress.security.principal import Principal

Rows = list[asyncpg.Record]


class Reader:
    """Reads on behalf of a principal, each query in a transaction of its own that PostgreSQL holds read-only.

    Attributes:
        principal: whose reach the queries carry.
        cursors: what signs the pages' cursors.
    """

    __slots__ = ("_connections", "cursors", "principal")

    def __init__(self, principal: Principal, connections: ReadConnections, cursors: Cursors) -> None:
        self.principal = principal
        self.cursors = cursors
        self._connections = connections

    def rows(self, sql: str, arguments: Sequence[Any]) -> Coroutine[Any, Any, Rows]:
        """The rows of one statement; for queries and the runtime's own parts, never for business code.

        Raises:
            Unavailable: no connection, or no answer in time.
        """
        return self._connections.fetch(sql, arguments)
