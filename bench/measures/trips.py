"""Round trips to PostgreSQL, counted on the wire: order-trips, limit-trips."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bench import seed
from bench.client import Connection, connect
from bench.fortress_server import fortress_server, new_database
from bench.people import API, Person, fill, people
from bench.project.routes import USUAL_LIMIT
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.statistics import summarize
from bench.wire import Wire, wire

_BATCHES: Final = 15
_BATCH: Final = 10
_CALLERS: Final = 8
_CALLS: Final = USUAL_LIMIT // 2
_IDLE_SECONDS: Final = 3.0


def take(run: Run) -> Sequence[Outcome]:
    run.say("round trips, counted on the wire")
    return asyncio.run(_take(run, new_database(run, "bench_trips")))


async def _take(run: Run, database: str) -> Sequence[Outcome]:
    async with wire(database) as proxy:
        # Jobs run elsewhere: what is counted is the request's own, the enqueuing of its job included.
        more = {"FORTRESS_DATABASE_OWNER_URL": database, "FORTRESS_WORKER": "apart"}
        server = fortress_server(run, "trips", proxy.url, more=more)
        await asyncio.to_thread(server.__enter__)
        try:
            callers = await people(server.port, _CALLERS)
            await fill(database, [caller.id for caller in callers])
            async with connect(server.port) as connection:
                return [await _order_trips(connection, proxy, callers[0]), await _limit_trips(connection, proxy, callers)]
        finally:
            await asyncio.to_thread(server.stop)


async def _order_trips(connection: Connection, proxy: Wire, buyer: Person) -> Outcome:
    """The median of batches, so that a heartbeat or a seal beside them does not count."""
    await _place(connection, buyer)
    counts = []
    for _ in range(_BATCHES):
        before = proxy.round_trips
        await _place(connection, buyer)
        counts.append((proxy.round_trips - before) / _BATCH)
    return figure("order-trips", summarize(counts), counted="on the wire")


async def _place(connection: Connection, buyer: Person) -> None:
    for sku in seed.skus()[:_BATCH]:
        body = {"items": [{"sku": sku, "quantity": 1}]}
        (await connection.ask("POST", f"{API}/orders", headers=buyer.headers, body=body)).value()


async def _limit_trips(connection: Connection, proxy: Wire, callers: list[Person]) -> Outcome:
    """Half of what each caller may in a minute; what the server sends by itself meanwhile is measured before and taken off."""
    before = proxy.round_trips
    await asyncio.sleep(_IDLE_SECONDS)
    idle = (proxy.round_trips - before) / _IDLE_SECONDS
    loop, shares = asyncio.get_running_loop(), []
    for caller in callers:
        before, began = proxy.round_trips, loop.time()
        for _ in range(_CALLS):
            (await connection.ask("GET", f"{API}/bench/limited", headers=caller.headers)).value()
        shares.append((proxy.round_trips - before - idle * (loop.time() - began)) / _CALLS)
    return figure("limit-trips", summarize(shares), limit=f"{USUAL_LIMIT}/min", idle_per_second=round(idle, 1))


MEASURE: Final = Measure(("order-trips", "limit-trips"), take)
