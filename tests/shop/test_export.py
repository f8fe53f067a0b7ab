"""The export of orders: what the list shows, all of it, in batches of any size."""

from __future__ import annotations

import json

import pytest

from fortress import Fortress
from fortress.data import Database
from fortress.security import SYSTEM
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from shop.orders.repository import OrderRepository

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}], "note": "Ring twice"}


async def test_it_is_the_list_with_one_order_a_line(client: Client, callers: Callers) -> None:
    buyer, other = await callers.person(), await callers.person()
    for who in (buyer, buyer, other, buyer):
        assert (await client.post("/orders", BASKET, as_=who)).status == 201
    listed = (await client.get("/orders", as_=buyer)).json()["items"]
    exported = await client.get("/orders/export", as_=buyer)
    assert [json.loads(line) for line in exported.body.splitlines()] == listed
    assert [order["note"] for order in listed] == ["Ring twice"] * 3


async def test_a_clerk_exports_everybodys(client: Client, callers: Callers) -> None:
    for who in (await callers.person(), await callers.person()):
        await client.post("/orders", BASKET, as_=who)
    clerk = await callers.person("clerk", roles=["member", "clerk"])
    assert len((await client.get("/orders/export", as_=clerk)).body.splitlines()) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7])
async def test_batches_of_any_size_hold_each_row_once(running: Fortress, client: Client, callers: Callers, size: int) -> None:
    buyer = await callers.person()
    placed = [(await client.post("/orders", BASKET, as_=buyer)).json()["id"] for _ in range(6)]
    assert running.runtime is not None
    services = running.runtime.container
    reader = services.get(Database).reader(SYSTEM)
    found = [batch async for batch in services.get(OrderRepository).recent.batches(reader, size=size)]
    assert [str(order.id) for batch in found for order in batch] == placed[::-1]
    assert all(len(batch) == size for batch in found[:-1])
    assert {order.note for batch in found for order in batch} == {"Ring twice"}


async def test_what_comes_while_it_runs_does_not_come_twice(running: Fortress, client: Client, callers: Callers) -> None:
    buyer = await callers.person()
    placed = [(await client.post("/orders", BASKET, as_=buyer)).json()["id"] for _ in range(4)]
    assert running.runtime is not None
    services = running.runtime.container
    batches = services.get(OrderRepository).recent.batches(services.get(Database).reader(SYSTEM), size=2)
    found = [order.id for order in await anext(batches)]
    await client.post("/orders", BASKET, as_=buyer)
    found += [order.id async for batch in batches for order in batch]
    assert list(map(str, found)) == placed[::-1]
