"""Readers: what may read, on whose behalf. Nothing here can write."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from fortress.data.connections import ReadConnections
from fortress.data.cursor import Cursors
from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Known
from fortress.data.personal.vault import Personal
from fortress.security.principal import Principal

Rows = list[asyncpg.Record]
_NOTHING: Final[Mapping[object, Any]] = {}


class Reader:
    """Reads on behalf of a principal, each query in a transaction of its own that PostgreSQL holds read-only.

    Attributes:
        principal: whose reach the queries carry.
        cursors: what signs the pages' cursors.
        personal: what opens personal data.
        remembered: what is kept of queries' answers, by query; nothing within a unit of work, which must see what it wrote.
    """

    __slots__ = ("_connections", "cursors", "personal", "principal", "remembered")

    def __init__(
        self,
        principal: Principal,
        connections: ReadConnections,
        cursors: Cursors,
        personal: Personal,
        remembered: Mapping[object, Any] = _NOTHING,
    ) -> None:
        self.principal = principal
        self.cursors = cursors
        self.personal = personal
        self.remembered = remembered
        self._connections = connections

    def rows(self, sql: str, arguments: Sequence[Any]) -> Coroutine[Any, Any, Rows]:
        """The rows of one statement; for queries and the runtime's own parts, never for business code.

        Raises:
            Unavailable: no connection, or no answer in time.
        """
        return self._connections.fetch(sql, arguments)

    def all_keys(self, people: Sequence[bytes]) -> list[SubjectKeys] | None:
        """The keys of all of these people, by the bytes of their ids; None when those of one are not at hand. For queries."""
        return self.personal.data.all(people)

    def ready_keys(self, people: Sequence[UUID]) -> tuple[Known, list[UUID]]:
        """These people's keys as far as they are at hand, and whose are not; for queries."""
        return self.personal.data.ready(people)
