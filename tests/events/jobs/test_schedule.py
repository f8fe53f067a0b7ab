"""Scheduled jobs: each time once, whoever looks, and none for times that are past."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fortress.clock import FixedClock
from fortress.data import Database
from fortress.events import HIGH, Job, cron, every
from fortress.events.jobs import JobStore, Schedule
from fortress.events.jobs.schedule import latest

Admin = Any
NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


@cron("0 12 * * *", name="t.noon", priority=HIGH)
async def noon() -> None: ...


@every("hour", name="t.hourly")
async def hourly() -> None: ...


class Held(JobStore):
    """Lets a test wait until a schedule has looked."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.ticks = asyncio.Semaphore(0)

    async def tick(self, name: str, priority: int, moment: int) -> bool:
        try:
            return await super().tick(name, priority, moment)
        finally:
            self.ticks.release()


async def look(database: Database, *jobs: Job, at: datetime = NOON, ticks: int = 1) -> None:
    """One look of a process that began just now, or several."""
    store = Held(database)
    running = asyncio.create_task(Schedule(store, jobs, FixedClock(at)).run())
    async with asyncio.timeout(10):
        for _ in range(ticks):
            await store.ticks.acquire()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_time_is_enqueued_once_however_many_look(database: Database, admin: Admin) -> None:
    await asyncio.gather(*(look(database, noon) for _ in range(5)))
    rows = await admin.fetch("SELECT task_name, queue_name, priority, args, queueing_lock FROM procrastinate_jobs")
    assert [tuple(row) for row in rows] == [("t.noon", "t.noon", 50, "{}", "t.noon")]
    await admin.execute("DELETE FROM procrastinate_jobs")
    await look(database, noon)
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_jobs") == 0


async def test_one_that_still_waits_is_not_joined_by_another(database: Database, admin: Admin) -> None:
    await look(database, noon)
    await look(database, noon, at=NOON + timedelta(days=1))
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_jobs") == 1
    await admin.execute("DELETE FROM procrastinate_jobs")
    await look(database, noon, at=NOON + timedelta(days=2))
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_jobs") == 1


async def test_what_is_past_is_not_made_up_for(database: Database, admin: Admin) -> None:
    running = asyncio.create_task(Schedule(JobStore(database), [noon], FixedClock(NOON + timedelta(minutes=2))).run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_periodic_defers") == 0


async def test_without_a_scheduled_job_nothing_is_looked_at(database: Database) -> None:
    async with asyncio.timeout(5):
        await Schedule(JobStore(database), [], FixedClock(NOON)).run()


async def test_a_database_that_is_away_is_asked_again(database: Database, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    away = iter([True])
    tick = JobStore.tick

    async def failing(store: JobStore, name: str, priority: int, moment: int) -> bool:
        if next(away, False):
            raise ConnectionResetError
        return await tick(store, name, priority, moment)

    monkeypatch.setattr(JobStore, "tick", failing)
    monkeypatch.setattr("fortress.events.jobs.schedule._LONGEST_SLEEP", 0.01)
    await look(database, noon, ticks=2)
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_jobs") == 1


def test_the_latest_time_is_at_or_before_now() -> None:
    exact = NOON.replace(second=0)
    assert latest(noon, exact) == latest(noon, NOON) == exact
    assert latest(noon, exact - timedelta(seconds=1)) == exact - timedelta(days=1)
    assert NOON - latest(hourly, NOON) < timedelta(hours=1)
