"""Slow queries hold every writing connection: the rest is told so at once, reads go on, nothing leaks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Reply
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

READERS, WRITERS = 2, 2
WAIT, LOCK = 0.5, 2.0
# A busy machine is late; the statement timeout of 10 s is not meant by this.
SLACK = 4.0
BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'fortress'"


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(
        workers=1,
        database_readers=READERS,
        database_writers=WRITERS,
        database_wait=WAIT,
        lock_timeout=LOCK,
        limit_store_timeout=0.1,
        # The connections are counted: those of requests alone.
        worker="apart",
    )


@asynccontextmanager
async def locked_shelf(url: str) -> AsyncIterator[None]:
    """The products' rows are locked from outside."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM products FOR UPDATE")
            yield
    finally:
        await connection.close(timeout=10)


async def test_a_full_pool_says_so_fast_leaks_nothing_and_recovers(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
        async with locked_shelf(server.database_url):
            orders = [asyncio.create_task(timed(client.post("/orders", BASKET, as_=buyer))) for _ in range(20)]
            await asyncio.sleep(WAIT / 2)
            assert (await client.get("/products")).status == 200, "reads have connections of their own"
            busy(await asyncio.gather(*orders))
        assert [(await client.post("/orders", BASKET, as_=buyer)).status for _ in range(10)] == [201] * 10
        assert (await client.call("GET", "/health/ready", base="")).status == 200
    assert server.faults() == []
    await no_connection_is_lost(server.database_url)


async def timed(call: object) -> tuple[Reply, float]:
    began = time.monotonic()
    reply: Reply = await call  # type: ignore[misc]
    return reply, time.monotonic() - began


def busy(answers: list[tuple[Reply, float]]) -> None:
    assert Counter(reply.status for reply, _ in answers) == {503: 20}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply, _ in answers)
    assert all(reply.headers["content-type"].startswith("application/problem+json") for reply, _ in answers)
    quick = sorted(seconds for _, seconds in answers)
    assert quick[-1] < LOCK + WAIT + SLACK
    assert quick[len(quick) // 2] < LOCK, "most had only to find out that none is free"


async def no_connection_is_lost(url: str) -> None:
    watcher = await asyncpg.connect(url, timeout=10)
    try:
        assert await watcher.fetchval(f"SELECT count(*) {OURS}") <= READERS + WRITERS
        assert await watcher.fetchval(f"SELECT count(*) {OURS} AND state LIKE 'idle in transaction%'") == 0
    finally:
        await watcher.close(timeout=10)


async def test_clients_that_give_up_waiting_give_back_what_they_held(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person("impatient")
        async with locked_shelf(server.database_url):
            gone = [asyncio.create_task(client.post("/orders", BASKET, as_=buyer)) for _ in range(10)]
            await asyncio.sleep(WAIT / 2)
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
        await served_again(client, buyer)
    await no_connection_is_lost(server.database_url)


async def test_requests_that_pass_their_deadline_leave_no_connection_behind(serve: Serve, address: Callable[[], str]) -> None:
    few = {"database_readers": READERS, "database_writers": WRITERS, "limit_store_timeout": 0.1}
    server = serve(workers=1, **few, request_timeout=1, lock_timeout=30, worker="apart")
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
        async with locked_shelf(server.database_url):
            late = await asyncio.gather(*(timed(client.post("/orders", BASKET, as_=buyer)) for _ in range(WRITERS)))
            assert Counter(reply.status for reply, _ in late) == {503: WRITERS}
            assert max(seconds for _, seconds in late) < 1 + SLACK
        await served_again(client, buyer)
    await no_connection_is_lost(server.database_url)


async def served_again(client: LiveClient, buyer: Caller) -> None:
    async with asyncio.timeout(LOCK + SLACK):
        while (await client.post("/orders", BASKET, as_=buyer)).status != 201:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.1)
