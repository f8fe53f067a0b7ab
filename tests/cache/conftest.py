"""Processes that share a database, and Redis or nothing else: each has its own pool, bus and cache."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable
from tests.cache.library import ENTITIES, REPOSITORIES

from fortress.background import Background
from fortress.cache.caches import Caches, declared
from fortress.cache.envelope import Envelopes
from fortress.cache.memory import Memory
from fortress.cache.redis import RedisAnswers
from fortress.cache.remote import Answers, Shared
from fortress.cache.shelf import Shelf
from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Catalogue, Database, Reader
from fortress.data.bus import Bus
from fortress.data.catalogue import OWN
from fortress.limits.redis import open_client
from fortress.security import SYSTEM, Principal
from fortress.settings import Settings
from fortress.testing.databases import Databases

SECRET = b"the secret of the tests' cache.."
DIALECT = make_url("postgresql+asyncpg://").get_dialect()()
CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
FOUND = declared(REPOSITORIES, ENTITIES)


class Process:
    """What a server process has of the cache."""

    def __init__(self, database: Database, memory: Memory, bus: Bus) -> None:
        self.database = database
        self.memory = memory
        self.bus = bus
        self.caches = Caches(FOUND, memory)
        database.tell(FOUND.tables, self.caches.heard)

    async def start(self) -> None:
        for query, shelf in self.caches.follow(self.bus).items():
            self.database.remembered[query] = shelf
        await self.bus.start()

    async def caught_up(self) -> None:
        """When it has heard everything that was committed before this call."""
        heard = asyncio.Event()
        marker = f"marker-{uuid4().hex}"
        self.bus.on(marker, lambda _rest: heard.set())
        async with self.database.unit(SYSTEM) as unit:
            unit.notify(f"{marker}:")
        await asyncio.wait_for(heard.wait(), 5)

    def reader(self, principal: Principal = SYSTEM) -> Reader:
        return self.database.reader(principal)

    def shelf(self, name: str) -> Shelf:
        return self.memory.shelves[name]

    @property
    def loads(self) -> int:
        return sum(shelf.loads for shelf in self.caches.shelves)

    async def settled(self) -> None:
        """When what was loaded is shared, and Redis has been told everything."""
        await self.memory.background.finish(5)
        shared = self.memory.shared
        if shared is not None:
            await eventually(lambda: all(shared.believed(shelf.plan) for shelf in self.caches.shelves))


Start = Callable[..., Awaitable[Process]]


async def eventually(true: Callable[[], object]) -> None:
    """When it has become true; for what tells nobody when it happens."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.fixture(scope="session")
def cache_url(databases: Databases) -> Iterator[str]:
    with databases.kept() as url:
        yield url


@pytest.fixture
async def admin(cache_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection beside ours, in the test's own schema with the library's tables."""
    connection = await asyncpg.connect(cache_url)
    schema = f"test_{uuid4().hex}"
    await connection.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")
    for table in Catalogue([*ENTITIES, *OWN]).metadata.sorted_tables:
        await connection.execute(str(CreateTable(table).compile(dialect=DIALECT)))
    yield connection
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


@pytest.fixture(params=["alone", "redis"])
def shared_prefix(request: pytest.FixtureRequest) -> str | None:
    """The prefix of this test's answers in Redis; None: there is no Redis."""
    if request.param == "alone":
        return None
    request.getfixturevalue("redis_url")
    return f"cache-test:{secrets.token_hex(4)}:"


@pytest.fixture
async def redis(redis_url: str, shared_prefix: str | None) -> AsyncIterator[Redis]:
    """A client beside ours."""
    async with Redis.from_url(redis_url) as client:
        yield client
        async for key in client.scan_iter(f"{shared_prefix}*"):
            await client.delete(key)


@asynccontextmanager
async def sharing(answers: Answers, patience: float = 1.0) -> AsyncIterator[Shared]:
    shared = Shared(answers, Envelopes(SECRET), patience, CLOCK, IDS)
    telling = asyncio.create_task(shared.keep_telling())
    try:
        yield shared
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


@pytest.fixture
async def start(
    request: pytest.FixtureRequest, cache_url: str, admin: asyncpg.Connection[asyncpg.Record], shared_prefix: str | None
) -> AsyncIterator[Start]:
    """What starts another process."""
    schema = str(await admin.fetchval("SELECT current_schema()"))
    url = request.getfixturevalue("redis_url") if shared_prefix else ""
    async with AsyncExitStack() as stack:

        async def started(*, redis_at: str = "", patience: float = 1.0) -> Process:
            settings = Settings.model_validate({"database_readers": 4, "database_writers": 2})
            database = Database(cache_url, settings, secret=SECRET, clock=CLOCK, ids=IDS, schema=schema)
            stack.push_async_callback(database.close)
            memory = Memory(room=1 << 24, patience=10, clock=CLOCK, background=Background())
            if shared_prefix:
                client = open_client(redis_at or url, patience)
                stack.push_async_callback(client.aclose)
                answers = RedisAnswers(client, IDS, shared_prefix)
                memory.shared = await stack.enter_async_context(sharing(answers, patience))
            stack.push_async_callback(memory.background.finish, 5)
            process = Process(database, memory, Bus(lambda: asyncpg.connect(cache_url), CLOCK))
            stack.push_async_callback(process.bus.stop)
            await process.start()
            if not redis_at:
                await process.settled()
            return process

        yield started


@pytest.fixture
async def process(start: Start) -> Process:
    return await start()
