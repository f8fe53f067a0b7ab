"""What a million rows cost that one client reads to the end: the memory that the server takes for them (export-memory)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Final
from uuid import UUID

import asyncpg
import psutil

from bench.fortress_server import fortress_server, new_database
from bench.people import API, Person, people
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.servers import Server
from bench.statistics import summarize

_ROWS: Final = 1_000_000
_WARM_ROWS: Final = 1_000
_PIECE: Final = 1 << 16
_MEGABYTE: Final = 1_000_000
_SAMPLE_SECONDS: Final = 0.02
_ORDERS: Final = """
INSERT INTO orders (id, user_id, status, total, lines, created_at, version)
SELECT gen_random_uuid(), $1, 'placed', 1.5, '[{"sku": "TEA", "name": "Tea", "quantity": 1, "price": "1.50"}]',
    now() - make_interval(secs => n), 1 FROM generate_series(1, $2::int) AS n"""


def take(run: Run) -> Sequence[Outcome]:
    run.say("export of 1,000,000 rows")
    database = new_database(run, "bench_export")
    with fortress_server(run, "export", database) as server:
        warm, reader = asyncio.run(people(server.port, 2))
        asyncio.run(_fill(database, warm.id, _WARM_ROWS))
        asyncio.run(_fill(database, reader.id, _ROWS))
        _read(server, warm)
        grown, seconds = _watched(server, reader)
    return [figure("export-memory", summarize([grown]), rows=_ROWS, rows_per_second=round(_ROWS / seconds))]


async def _fill(database: str, person: UUID, count: int) -> None:
    connection = await asyncpg.connect(database, timeout=10)
    try:
        await connection.execute(_ORDERS, person, count)
        await connection.execute("ANALYZE orders")
    finally:
        await connection.close()


def _watched(server: Server, person: Person) -> tuple[float, float]:
    """Megabytes that the server's processes grew by at most, and the seconds it took."""
    processes = server.processes()
    sizes = [_resident(processes)]
    done = threading.Event()
    watching = threading.Thread(target=_sample, args=(processes, sizes, done))
    watching.start()
    began = time.perf_counter()
    try:
        rows = _read(server, person)
    finally:
        done.set()
        watching.join()
    if rows != _ROWS:
        raise RuntimeError(f"{rows} rows came of {_ROWS}")
    return (max(sizes) - sizes[0]) / _MEGABYTE, time.perf_counter() - began


def _sample(processes: Sequence[psutil.Process], sizes: list[int], done: threading.Event) -> None:
    while not done.wait(_SAMPLE_SECONDS):
        sizes.append(_resident(processes))


def _resident(processes: Sequence[psutil.Process]) -> int:
    return sum(int(process.memory_info().rss) for process in processes)


def _read(server: Server, person: Person) -> int:
    """How many rows came."""
    connection, rows = HTTPConnection("127.0.0.1", server.port, timeout=60), 0
    try:
        connection.request("GET", f"{API}/orders/export", headers=person.headers)
        answer = connection.getresponse()
        while piece := answer.read(_PIECE):
            rows += piece.count(b"\n")
    finally:
        connection.close()
    return rows


MEASURE: Final = Measure(("export-memory",), take)
