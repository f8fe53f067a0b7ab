"""Many in one request: each by itself."""

from __future__ import annotations

from uuid import uuid4

import pytest

from fortress import Fortress
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from shop.orders.service import OrderService

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}


async def test_each_is_done_or_refused_by_itself(client: Client, callers: Callers) -> None:
    buyer, other = await callers.person(), await callers.person()
    first, second = [(await client.post("/orders", BASKET, as_=buyer)).json()["id"] for _ in range(2)]
    foreign = (await client.post("/orders", BASKET, as_=other)).json()["id"]
    wanted = [first, foreign, first, str(uuid4()), second]
    answer = await client.post("/orders/cancellations", {"order_ids": wanted}, as_=buyer)
    assert answer.status == 200, answer.json()
    results = answer.json()["results"]
    assert [(one["index"], one["status"]) for one in results] == [(0, 200), (1, 404), (2, 409), (3, 404), (4, 200)]
    assert [one["value"]["status"] for one in results if "value" in one] == ["cancelled"] * 2
    codes = [one["problem"]["code"] for one in results if "problem" in one]
    assert codes == ["orders.not_found", "orders.not_cancellable", "orders.not_found"]
    assert (await client.get(f"/orders/{foreign}", as_=other)).json()["status"] == "placed"


async def test_an_error_that_nobody_foresaw_is_one_items_and_tells_nothing(
    running: Fortress, client: Client, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    buyer = await callers.person()
    first, second = [(await client.post("/orders", BASKET, as_=buyer)).json()["id"] for _ in range(2)]
    cancel = OrderService.cancel

    async def failing(self: OrderService, order_id: object, caller: object) -> object:
        if str(order_id) == first:
            raise RuntimeError("secret")
        return await cancel(self, order_id, caller)  # type: ignore[arg-type]

    monkeypatch.setattr(OrderService, "cancel", failing)
    answer = await client.post("/orders/cancellations", {"order_ids": [first, second]}, as_=buyer)
    assert [one["status"] for one in answer.json()["results"]] == [500, 200]
    assert b"secret" not in answer.body


@pytest.mark.parametrize("ids", [[], ["x"], [str(uuid4())] * 51])
async def test_how_many_is_bounded(client: Client, callers: Callers, ids: list[str]) -> None:
    assert (await client.post("/orders/cancellations", {"order_ids": ids}, as_=await callers.person())).status == 422
