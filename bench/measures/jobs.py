"""How many jobs one process does, each a transaction that reads one row: jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import asyncpg

from bench.fortress_server import fortress_server, new_database
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.statistics import summarize

_KEY: Final = "jobs"
_JOBS: Final = 2000
_SECONDS: Final = 120.0
_BACKLOG: Final = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, args)
    SELECT 'orders.look_at_shelves', 'orders.look_at_shelves', '{"skus": ["none"]}' FROM generate_series(1, $1)"""
_LEFT: Final = "SELECT EXISTS (SELECT FROM procrastinate_jobs)"


def take(run: Run) -> Sequence[Outcome]:
    run.say("jobs done by one process")
    return asyncio.run(_take(run, new_database(run, "bench_jobs")))


async def _take(run: Run, database: str) -> Sequence[Outcome]:
    server = fortress_server(run, "jobs", database)
    await asyncio.to_thread(server.__enter__)
    try:
        rates = [await _drained(database) for _ in range(run.http_rounds)]
    finally:
        await asyncio.to_thread(server.stop)
    return [figure(_KEY, summarize(rates), jobs=_JOBS)]


async def _drained(database: str) -> float:
    """Jobs per second from the commit of a backlog to the end of its last one."""
    connection = await asyncpg.connect(database, timeout=10)
    try:
        await connection.execute(_BACKLOG, _JOBS)
        began = time.perf_counter()
        async with asyncio.timeout(_SECONDS):
            while await connection.fetchval(_LEFT):  # noqa: ASYNC110 - the queue can only be asked
                await asyncio.sleep(0.02)
        return _JOBS / (time.perf_counter() - began)
    finally:
        await connection.close()


MEASURE: Final = Measure((_KEY,), take)
