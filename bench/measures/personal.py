"""What encryption adds to a page of people: people-50."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from bench.client import Connection, Step, connect, repeat
from bench.fortress_server import fortress_server, new_database
from bench.people import API, Person, people
from bench.rows import Outcome
from bench.run import Measure, Run, figure, microseconds
from bench.servers import Server
from bench.statistics import ratios

_CLIENTS: Final = 4


def take(run: Run) -> Sequence[Outcome]:
    run.say("a page of people, encrypted and plain")
    with fortress_server(run, "people", new_database(run, "bench_people")) as server:
        sealed, plain = asyncio.run(_pages(server, run))
    return [figure("people-50", ratios(sealed, plain), sealed_us=microseconds(sealed), plain_us=microseconds(plain))]


async def _pages(server: Server, run: Run) -> tuple[list[float], list[float]]:
    """The server's CPU seconds per page of each kind, round by round."""
    taken: dict[str, list[float]] = {"sealed": [], "plain": []}
    async with AsyncExitStack() as stack:
        users = await people(server.port, _CLIENTS)
        connections = [await stack.enter_async_context(connect(server.port)) for _ in users]
        for _ in range(run.http_rounds):
            for kind, seconds in taken.items():
                steps = [_reading(connection, user, kind) for connection, user in zip(connections, users, strict=True)]
                before = server.cpu()
                done = await repeat(steps, run.seconds)
                seconds.append((server.cpu() - before) / done)
    return taken["sealed"], taken["plain"]


def _reading(connection: Connection, user: Person, kind: str) -> Step:
    async def step() -> object:
        return (await connection.ask("GET", f"{API}/bench/people/{kind}?limit=50", headers=user.headers)).value()

    return step


MEASURE: Final = Measure(("people-50",), take)
