"""A database with the runtime's own tables and one of effects, and subscribers on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Database, Entity, Key
from fortress.data.catalogue import OWN
from fortress.data.migration import Migrations, runtime_branch
from fortress.events import Fact, Subscriber
from fortress.events.following import FactKinds, Followers, Herald, followers_of, logs_of, register
from fortress.security import SYSTEM
from fortress.settings import Settings
from fortress.testing.databases import Databases

if TYPE_CHECKING:
    Admin = asyncpg.Connection[asyncpg.Record]
else:
    Admin = asyncpg.Connection
OWN_TABLES = "events, audit_log, subscriber_lanes, parked_facts, effects"


class Counted(Fact, frozen=True):
    thing: UUID
    number: int = 0


class Other(Fact, frozen=True):
    thing: UUID


class Effect(Entity, frozen=True):
    """What a handler did, in the order in which it did it; a key twice is an effect twice."""

    __tablename__ = "effects"

    id: Key
    thing: UUID
    number: int


KINDS = FactKinds([Counted, Other])


async def migrate(url: str) -> None:
    await Migrations(url, [runtime_branch([entity.table for entity in OWN])]).up()
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE effects (id uuid, thing uuid NOT NULL, number bigint NOT NULL, place bigint GENERATED ALWAYS AS IDENTITY)"
    )
    await connection.close()


@pytest.fixture(scope="session")
def following_url(databases: Databases) -> Iterator[str]:
    with databases.kept(migrate) as url:
        yield url


@pytest.fixture
async def admin(following_url: str) -> AsyncIterator[Admin]:
    """A connection beside ours; the log is empty before each test."""
    connection = await asyncpg.connect(following_url)
    await connection.execute(f"TRUNCATE {OWN_TABLES}")
    yield connection
    await connection.close()


@pytest.fixture
async def database(following_url: str, admin: Admin) -> AsyncIterator[Database]:
    del admin
    settings = Settings.model_validate({"database_readers": 2, "database_writers": 12})
    clock = SystemClock()
    async with Database(following_url, settings, secret=bytes(32), clock=clock, ids=TimeOrderedIds(clock)) as database:
        yield database


Start = Callable[..., Followers]


@pytest.fixture
async def follow(database: Database) -> AsyncIterator[Callable[..., Any]]:
    """Start these subscribers, as one process does; they are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start(*subscribers: Subscriber, clock: Any = None, provide: Any = None, kinds: FactKinds = KINDS) -> Followers:
            clock = clock or SystemClock()
            logs = logs_of(subscribers, kinds)
            await register(database, logs)
            made = Followers(followers_of(logs, kinds, provide or _nothing, database, clock), database, clock, at_once=4, grace=5.0)
            database.hear(kinds.by_name, Herald(database, made.wake).recorded)
            made.start()
            stack.push_async_callback(made.stop)
            return made

        yield start


async def record(database: Database, *facts: Fact) -> None:
    """Record these in one transaction."""
    async with database.unit(SYSTEM) as unit:
        for fact in facts:
            unit.record(fact)


def _nothing(kind: type[Any]) -> Any:
    raise AssertionError(f"nobody asked for {kind}")
