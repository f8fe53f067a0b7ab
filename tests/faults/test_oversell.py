"""A hundred people want the last one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import asyncpg
import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

BUYERS = 100
LAST = "HONEY-JAR"
# Fewer at once than a hash queue holds.
AT_ONCE = 16


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    """Two workers, whose callers wait for a connection for as long as it takes: the answer must not be that they are busy."""
    return serve(database_wait=20)


async def people(client: LiveClient, count: int) -> list[Caller]:
    """So many people, signed in."""
    callers, gate = Callers(client, ADMIN, ADMIN_PASSWORD), asyncio.Semaphore(AT_ONCE)

    async def one() -> Caller:
        async with gate:
            return await callers.person()

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_exactly_one_of_a_hundred_buyers_gets_the_last_unit(server: Server, address: Callable[[], str]) -> None:
    basket = {"items": [{"sku": LAST, "quantity": 1}]}
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyers = await people(client, BUYERS)
        replies = await asyncio.gather(*(client.post("/orders", basket, as_=buyer) for buyer in buyers))
        assert Counter(reply.status for reply in replies) == {201: 1, 409: BUYERS - 1}
        assert {reply.code for reply in replies if reply.status == 409} == {"orders.out_of_stock"}
        winner = next(buyer for buyer, reply in zip(buyers, replies, strict=True) if reply.status == 201)
        assert [order["user_id"] for order in (await client.get("/orders", as_=winner)).json()["items"]] == [winner.id]
    workers = {line["worker"] for line in server.log_lines() if line.get("route") == "/api/v1/orders" and line["method"] == "POST"}
    assert len(workers) == 2
    await nothing_but_one_sale(server)


async def nothing_but_one_sale(server: Server) -> None:
    owner = await asyncpg.connect(server.database_url, timeout=10)
    try:
        assert await owner.fetchval("SELECT stock FROM products WHERE sku = $1", LAST) == 0
        assert await owner.fetchval("SELECT count(*) FROM orders") == 1
        assert await owner.fetchval("SELECT count(*) FROM events WHERE name = 'OrderPlaced'") == 1
        assert await owner.fetchval("SELECT count(*) FROM audit_log WHERE action = 'orders.placed'") == 1
    finally:
        await owner.close(timeout=10)


async def test_baskets_that_share_products_never_wait_for_each_other_in_a_ring(server: Server, address: Callable[[], str]) -> None:
    there = [{"sku": "TEA-GREEN", "quantity": 1}, {"sku": "CUP-STONE", "quantity": 1}]
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = (await people(client, 1))[0]
        baskets = ({"items": there if turn % 2 else there[::-1]} for turn in range(30))
        replies = await asyncio.gather(*(client.post("/orders", basket, as_=buyer) for basket in baskets))
    assert Counter(reply.status for reply in replies) == {201: 30}
