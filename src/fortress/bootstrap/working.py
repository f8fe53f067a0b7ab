"""Work beside the requests: the worker that runs jobs, and the clock that enqueues them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from fortress.bootstrap.container import Container
from fortress.clock import Clock
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.events.jobs import JobStore, Runner, Schedule, Worker
from fortress.events.jobs.watch import JobMetrics
from fortress.job import Job
from fortress.settings import Settings
from fortress.telemetry.metrics import Metrics

# Procrastinate's triggers tell it of each job that comes and of each that is to be broken off.
CHANNEL: Final = "procrastinate_any_queue_v1"


class _News(msgspec.Struct):
    type: str
    job_id: int


_read: Final = msgspec.json.Decoder(_News).decode


@asynccontextmanager
async def jobs_at_work(jobs: Sequence[Job], container: Container, bus: Bus, draining: Callable[[], bool]) -> AsyncIterator[Worker]:
    """Jobs run in this process for as long as the block lasts. Before the bus starts.

    Raises:
        CannotStart: a job needs a service that no domain provides.
    """
    database, clock, settings = container.get(Database), container.get(Clock), container.get(Settings)
    store = JobStore(database)
    runner = Runner(jobs, container.get, database, clock.monotonic)
    observer = JobMetrics(container.get(Metrics), runner.jobs)
    worker = Worker(
        store, runner, clock, observer, size=settings.jobs_at_once, grace=settings.jobs_grace, draining=draining
    )  # fmt: skip
    bus.on_channel(CHANNEL, lambda news: _hear(worker, news))
    bus.on_restored(worker.wake)
    schedule = asyncio.create_task(Schedule(store, jobs, clock).run(), name="jobs schedule")
    worker.start()
    try:
        yield worker
    finally:
        schedule.cancel()
        await asyncio.gather(schedule, return_exceptions=True)
        await worker.stop()


def _hear(worker: Worker, message: str) -> None:
    news = _read(message)
    if news.type == "abort_job_requested":
        worker.break_off([news.job_id])
    else:
        worker.wake()
