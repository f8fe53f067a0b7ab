"""Slow queries hold every writing connection: the rest is told so at once, reads go on, nothing leaks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from tests.faults.conftest import Connection, Serve
from tests.faults.harness.live import LiveClient
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.client import Reply
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
    )


@pytest.fixture
async def blocked(owner: Connection) -> AsyncIterator[asyncio.Event]:
    """The shelf's rows are locked from outside until the event is set."""
    released = asyncio.Event()

    async def hold() -> None:
        async with owner.transaction():
            await owner.execute("SELECT FROM products FOR UPDATE")
            held.set()
            await released.wait()

    held = asyncio.Event()
    holding = asyncio.create_task(hold())
    await held.wait()
    yield released
    released.set()
    await holding


async def test_a_full_pool_says_so_fast_leaks_nothing_and_recovers(
    server: Server, address: Callable[[], str], owner: Connection, blocked: asyncio.Event
) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
        orders = [asyncio.create_task(timed(client.post("/orders", BASKET, as_=buyer))) for _ in range(20)]
        await asyncio.sleep(WAIT / 2)
        assert (await client.get("/products")).status == 200, "reads have connections of their own"
        answers = await asyncio.gather(*orders)
        busy(answers)
        blocked.set()
        assert (await client.post("/orders", BASKET, as_=buyer)).status == 201
        assert Counter([(await client.post("/orders", BASKET, as_=buyer)).status for _ in range(10)]) == {201: 10}
        assert (await client.call("GET", "/health/ready", base="")).status == 200
    assert not [line for line in server.log_lines() if line.get("status") == 500]
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


async def test_clients_that_give_up_waiting_give_back_what_they_held(
    server: Server, address: Callable[[], str], blocked: asyncio.Event
) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person("impatient")
        gone = [asyncio.create_task(client.post("/orders", BASKET, as_=buyer)) for _ in range(10)]
        await asyncio.sleep(WAIT / 2)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        blocked.set()
        async with asyncio.timeout(LOCK + SLACK):
            while (await client.post("/orders", BASKET, as_=buyer)).status != 201:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.1)
    await no_connection_is_lost(server.database_url)
