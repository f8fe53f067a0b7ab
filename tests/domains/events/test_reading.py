"""Reading the log of facts over HTTP, as the shop serves it."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from fortress import Fortress
from fortress.data import Database
from fortress.security import SYSTEM
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from shop.orders.events import OrderCancelled, OrderPlaced


async def test_who_may_reads_what_has_happened_page_by_page(running: Fortress, client: Client, callers: Callers) -> None:
    assert running.runtime is not None
    first, second = uuid4(), uuid4()
    async with running.runtime.container.get(Database).unit(SYSTEM) as unit:
        for id in (first, second):
            unit.record(OrderPlaced(order_id=id, buyer_id=id, total=Decimal(1)))
        unit.record(OrderCancelled(order_id=first, buyer_id=first))
    admin = await callers.administrator()

    async def seen(query: str) -> list[tuple[str, UUID]]:
        answer = await client.get(f"/events?{query}", as_=admin)
        assert answer.status == 200, answer.body
        return [(item["name"], UUID(item["aggregate"])) for item in answer.json()["items"]]

    assert await seen(f"aggregate={first}") == [("OrderCancelled", first), ("OrderPlaced", first)]
    assert await seen("name=OrderPlaced") == [("OrderPlaced", second), ("OrderPlaced", first)]
    assert await seen(f"name=OrderPlaced&aggregate={first}") == [("OrderPlaced", first)]
    assert len(await seen("limit=1")) == 1
    assert await seen("name=OrderPlaced&until=2000-01-02T00:00:00Z&since=2000-01-01T00:00:00Z") == []


async def test_nobody_else_reads_it(client: Client, callers: Callers) -> None:
    assert (await client.get("/events", as_=await callers.person())).status == 403
    assert (await client.get("/events")).status == 401


@pytest.mark.parametrize("query", ["name=no%20name", "aggregate=7", "since=2020-01-02T00:00:00Z&until=2020-01-01T00:00:00Z"])
async def test_what_makes_no_sense_is_refused(client: Client, callers: Callers, query: str) -> None:
    assert (await client.get(f"/events?{query}", as_=await callers.administrator())).status == 422
