"""What an order's buyer waits for its fact, its audit row and two subscribers: order-facts. Whole requests, one after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from bench.client import Connection, connect
from bench.fortress_server import fortress_server, new_database
from bench.people import API, people
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.servers import Server
from bench.statistics import order_of_round, ratios

_WAYS: Final = ("told", "quiet")


def take(run: Run) -> Sequence[Outcome]:
    run.say("orders with a fact, an audit row and two subscribers, and without")
    with fortress_server(run, "orders", new_database(run, "bench_orders")) as server:
        taken = asyncio.run(_rounds(server, run))
    told, quiet = (taken[way] for way in _WAYS)
    return [figure("order-facts", ratios(told, quiet), told_ms=_ms(told), quiet_ms=_ms(quiet))]


async def _rounds(server: Server, run: Run) -> dict[str, list[float]]:
    """Seconds per order each way, round by round; the first, which warms up, is not counted."""
    taken: dict[str, list[float]] = {way: [] for way in _WAYS}
    headers = (await people(server.port, 1))[0].headers
    async with connect(server.port) as connection:
        for number in range(run.http_rounds + 1):
            for way in order_of_round(list(_WAYS), number):
                spent = await _seconds_per_order(connection, way, headers, run.seconds)
                if number:
                    taken[way].append(spent)
    return taken


async def _seconds_per_order(connection: Connection, way: str, headers: dict[str, str], seconds: float) -> float:
    placed, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        (await connection.ask("POST", f"{API}/bench/orders/{way}", headers=headers)).value()
        placed += 1
    return (time.perf_counter() - began) / placed


def _ms(seconds: Sequence[float]) -> float:
    return round(sorted(seconds)[len(seconds) // 2] * 1000, 3)


MEASURE: Final = Measure(("order-facts",), take)
