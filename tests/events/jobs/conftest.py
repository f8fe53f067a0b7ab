"""A database with the runtime's own tables and nothing else, and workers on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Database
from fortress.data.catalogue import OWN
from fortress.data.migration import Migrations, runtime_branch
from fortress.errors import CannotStart
from fortress.events import Job
from fortress.events.jobs import JobStore, Runner, Worker
from fortress.settings import Settings
from fortress.testing.databases import Databases

Rows = list[asyncpg.Record]
Start = Callable[..., Worker]


class Counted:
    """What was seen of jobs."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.failures: list[str] = []
        self.deaths: list[str] = []

    def ran(self, name: str, _seconds: float) -> None:
        self.runs.append(name)

    def failed(self, name: str) -> None:
        self.failures.append(name)

    def died(self, name: str) -> None:
        self.deaths.append(name)


async def migrate(url: str) -> None:
    await Migrations(url, [runtime_branch([entity.table for entity in OWN])]).up()


@pytest.fixture(scope="session")
def jobs_url(databases: Databases) -> Iterator[str]:
    with databases.kept(migrate) as url:
        yield url


@pytest.fixture
async def admin(jobs_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection beside ours; the queue is empty before each test."""
    connection = await asyncpg.connect(jobs_url)
    tables = "procrastinate_jobs, procrastinate_workers, procrastinate_periodic_defers, procrastinate_events, events, audit_log"
    await connection.execute(f"TRUNCATE {tables} CASCADE")
    yield connection
    await connection.close()


@pytest.fixture
async def database(jobs_url: str, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Database]:
    settings = Settings.model_validate({"database_readers": 2, "database_writers": 6})
    clock = SystemClock()
    async with Database(jobs_url, settings, secret=bytes(32), clock=clock, ids=TimeOrderedIds(clock)) as database:
        yield database


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def services() -> dict[type[Any], Any]:
    """What jobs may ask for; a test adds to it."""
    return {}


@pytest.fixture
async def worker(database: Database, counted: Counted, services: dict[type[Any], Any]) -> AsyncIterator[Start]:
    """Start workers for these jobs; they are stopped after the test."""
    services[Database] = database

    def provide(kind: type[Any]) -> Any:
        if kind not in services:
            raise CannotStart(f"nobody provides {kind}")
        return services[kind]

    clock = SystemClock()
    async with AsyncExitStack() as stack:

        def start(*jobs: Job, size: int = 5, grace: float = 2.0) -> Worker:
            runner = Runner(jobs, provide, database, clock.monotonic)
            made = Worker(JobStore(database), runner, clock, counted, size=size, grace=grace)
            made.start()
            stack.push_async_callback(made.stop)
            return made

        yield start
