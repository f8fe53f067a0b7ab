"""A database of our own, made once for the run; each test gets its own schema in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from fortress.clock import Clock, SystemClock, TimeOrderedIds
from fortress.data import Catalogue, Database, Entity
from fortress.data.catalogue import OWN
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing, new_ring
from fortress.security.wrapping import RingWrapping, Wrapping
from fortress.settings import Settings
from fortress.testing.databases import Databases

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()
SECRET = b"the cursors' secret of the tests"
Create = Callable[..., Awaitable[None]]
Open = Callable[..., Awaitable[Database]]


@pytest.fixture(scope="session")
def data_url(databases: Databases) -> Iterator[str]:
    with databases.kept() as url:
        yield url


@pytest.fixture
async def admin(data_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection beside ours, in the test's own schema."""
    connection = await asyncpg.connect(data_url)
    schema = f"test_{uuid4().hex}"
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(f"SET search_path = {schema}")
    yield connection
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


@pytest.fixture
def create(admin: asyncpg.Connection[asyncpg.Record]) -> Create:
    """Make the tables of these entities, and the runtime's own."""

    async def make(*entities: type[Entity]) -> None:
        for table in Catalogue([*entities, *OWN]).metadata.sorted_tables:
            await admin.execute(str(CreateTable(table).compile(dialect=DIALECT)))
            for index in table.indexes:
                await admin.execute(str(CreateIndex(index).compile(dialect=DIALECT)))
            if table.dialect_options["postgresql"]["partition_by"]:
                await admin.execute(f"CREATE TABLE {table.name}_default PARTITION OF {table.name} DEFAULT")

    return make


@pytest.fixture(scope="session")
def wrapping(tmp_path_factory: pytest.TempPathFactory) -> Wrapping:
    """The keys of a key ring in a file."""
    keys = FileKeys(tmp_path_factory.mktemp("ring") / "keyring.json")
    keys.ensure(lambda: new_ring(SystemClock().now()))
    return RingWrapping(KeyRing(keys, SystemClock()))


@pytest.fixture
async def connect(data_url: str, admin: asyncpg.Connection[asyncpg.Record], wrapping: Wrapping) -> AsyncIterator[Open]:
    """Open databases on the test's schema; they are closed after it."""
    schema = str(await admin.fetchval("SELECT current_schema()"))
    async with AsyncExitStack() as opened:

        async def open_one(url: str = data_url, *, clock: Clock | None = None, role: str | None = None, **given: object) -> Database:
            settings = Settings.model_validate({"database_readers": 4, "database_writers": 4, "database_wait": 2.0} | given)
            time = clock or SystemClock()
            shared: dict[str, Any] = {"clock": time, "ids": TimeOrderedIds(time), "wrapping": wrapping}
            database = Database(url, settings, secret=SECRET, schema=schema, role=role, **shared)
            opened.push_async_callback(database.close)
            return database

        yield open_one


@pytest.fixture
async def database(connect: Open) -> Database:
    return await connect()
