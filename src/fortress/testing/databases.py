"""Databases for tests: migrated once, cloned for each test that needs one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

Migrate = Callable[[str], Awaitable[object]]
_TRIES: Final = 5


class Databases:
    """Makes databases on one server.

    Args:
        server: the owner's URL of any database there.
        prefix: of the names, so that nothing but ours is ever dropped.
    """

    def __init__(self, server: str, prefix: str = "fortress_test") -> None:
        self._server = server
        self._prefix = prefix

    def url(self, name: str) -> str:
        """The owner's URL of the database called `name`."""
        return urlunsplit(urlsplit(self._server)._replace(path=f"/{name}"))

    async def template(self, migrate: Migrate) -> str:
        """A database at head, to be cloned; its name."""
        name = self._new_name()
        await self._run(f'CREATE DATABASE "{name}"')
        await migrate(self.url(name))
        return name

    @asynccontextmanager
    async def clone(self, template: str | None = None) -> AsyncIterator[str]:
        """The URL of a database of one's own, like the template (or empty), for as long as the block lasts."""
        name = self._new_name()
        await self._run(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        try:
            yield self.url(name)
        finally:
            await self.drop(name)

    async def drop(self, name: str) -> None:
        """Remove a database of ours, whoever is still connected."""
        if not name.startswith(self._prefix):
            raise ValueError(f"{name} is not a test's database")
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _new_name(self) -> str:
        return f"{self._prefix}_{uuid4().hex[:12]}"

    async def _run(self, sql: str) -> None:
        connection = await asyncpg.connect(self._server, timeout=10)
        try:
            for attempt in range(_TRIES):
                try:
                    await connection.execute(sql)
                    return
                except asyncpg.ObjectInUseError:
                    # Another process is cloning the same template this moment.
                    if attempt == _TRIES - 1:
                        raise
        finally:
            await connection.close()
