"""What must be well before a server takes requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from fortress.data import Database
from fortress.data.migration.schema import Schema, SchemaState
from fortress.data.refusals import refusal
from fortress.errors import Unavailable
from fortress.http.health import Check


class _Reading:
    """Lets the schema be read through the pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch(self, query: str, /) -> Sequence[Any]:
        try:
            return await self._database.readers.once(query, [])
        except asyncpg.UndefinedTableError:
            # A database without any migration yet; the schema knows what that means.
            raise
        except Exception as error:
            raise refusal(error) from None


def checks(database: Database, schema: Schema, draining: Callable[[], bool]) -> dict[str, Check]:
    """The checks of /health/ready: by name, each giving None or a word for what is not well."""

    async def database_answers() -> str | None:
        try:
            await database.ping()
        except Unavailable:
            return "unreachable"
        return None

    async def schema_at_head() -> str | None:
        try:
            state = await schema.state(_Reading(database))
        except Unavailable:
            return "unknown"
        return None if state is SchemaState.AT_HEAD else state.value

    async def pool_has_room() -> str | None:
        full = any(pool.waiting >= pool.size for pool in (database.readers, database.writers))
        return "exhausted" if full else None

    async def not_draining() -> str | None:
        return "draining" if draining() else None

    return {"server": not_draining, "database": database_answers, "schema": schema_at_head, "pool": pool_has_room}
