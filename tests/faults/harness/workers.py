"""Speaking to one worker after another: which process a connection has reached, and a connection to each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import psutil
from tests.faults.harness.serving import Server

from fortress.testing.live import LiveClient

_TRIES: Final = 100


@asynccontextmanager
async def each_worker(server: Server, address: Callable[[], str]) -> AsyncIterator[dict[int, LiveClient]]:
    """A client for each worker, by its process id, whose one connection is kept and so always reaches that worker."""
    workers = set(server.workers)
    async with AsyncExitStack() as stack:
        met: dict[int, LiveClient] = {}
        for _ in range(_TRIES):
            place = address()
            client = await stack.enter_async_context(LiveClient(server.port, address=place))
            await client.call("GET", "/health/live", base="")
            met.setdefault(_reached(workers, place), client)
            if set(met) == workers:
                break
        assert set(met) == workers, f"{_TRIES} connections reached only {set(met)} of {workers}"
        yield met


def _reached(workers: set[int], address: str) -> int:
    """The worker to which somebody is connected from `address`."""
    for pid in workers:
        if any(one.status == psutil.CONN_ESTABLISHED and one.raddr.ip == address for one in psutil.Process(pid).net_connections("tcp")):
            return pid
    raise AssertionError(f"no worker is connected to {address}")
