"""Databases for tests: migrated once, cloned for each test that needs one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
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

    async def create(self, template: str = "template0") -> str:
        """A database like the template, empty unless one is named; its name."""
        name = self._new_name()
        # What a test loses with the machine is no loss.
        await self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"', f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        return name

    async def template(self, migrate: Migrate) -> str:
        """A database at head, to be cloned; its name."""
        name = await self.create()
        await migrate(self.url(name))
        return name

    @asynccontextmanager
    async def clone(self, template: str = "template0") -> AsyncIterator[str]:
        """The URL of a database of one's own, like the template, for as long as the block lasts."""
        name = await self.create(template)
        try:
            yield self.url(name)
        finally:
            await self.drop(name)

    @contextmanager
    def kept(self, fill: Migrate | None = None, *, template: str = "template0") -> Iterator[str]:
        """The URL of a database that a whole suite shares and cleans itself; for session fixtures, which have no loop."""
        name = asyncio.run(self.create(template))
        try:
            if fill is not None:
                asyncio.run(_filled(fill, self.url(name)))
            yield self.url(name)
        finally:
            asyncio.run(self.drop(name))

    async def drop(self, name: str) -> None:
        """Remove a database of ours, whoever is still connected."""
        if not name.startswith(self._prefix):
            raise ValueError(f"{name} is not a test's database")
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _new_name(self) -> str:
        return f"{self._prefix}_{uuid4().hex[:12]}"

    async def _run(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._server, timeout=10)
        try:
            for sql in statements:
                await _persist(connection, sql)
        finally:
            await connection.close()


async def _persist(connection: asyncpg.Connection[asyncpg.Record], sql: str) -> None:
    for attempt in range(_TRIES):
        try:
            await connection.execute(sql)
            return
        except asyncpg.ObjectInUseError:
            # Another process is cloning the same template this moment.
            if attempt == _TRIES - 1:
                raise


async def _filled(fill: Migrate, url: str) -> None:
    await fill(url)
