"""What is asked for twice with one Idempotency-Key is done once, and answered the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from fortress import Fortress
from fortress.data import Database
from fortress.http.replays import Replays
from fortress.security import SYSTEM
from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client, Reply
from shop.orders.service import OrderService

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}], "note": "Ring twice"}


@pytest.fixture
async def buyer(callers: Callers) -> Caller:
    return await callers.person()


async def place(client: Client, who: Caller, key: str = "one", basket: object = BASKET, **options: str) -> Reply:
    return await client.post("/orders", basket, headers={"idempotency-key": key}, as_=who, **options)


async def orders(client: Client, who: Caller) -> int:
    return len((await client.get("/orders", as_=who)).json()["items"])


async def test_the_second_answer_is_the_first_to_the_byte(client: Client, buyer: Caller) -> None:
    first, second = await place(client, buyer), await place(client, buyer, '"one"')
    assert first.status == second.status == 201
    assert first.body == second.body
    for name in ("location", "etag", "content-type"):
        assert first.headers[name] == second.headers[name]
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await orders(client, buyer) == 1


async def test_a_key_is_of_one_request(client: Client, buyer: Caller) -> None:
    await place(client, buyer)
    for basket in ({**BASKET, "note": "Ring once"}, {"items": BASKET["items"]}):
        refused = await place(client, buyer, basket=basket)
        assert (refused.status, refused.code) == (422, "idempotency.mismatch")
    assert (await place(client, buyer, base="/api/v2")).status == 201
    assert await orders(client, buyer) == 2


async def test_a_key_is_of_one_caller(client: Client, callers: Callers, buyer: Caller) -> None:
    other = await callers.person()
    first, second = await place(client, buyer), await place(client, other)
    assert first.json()["id"] != second.json()["id"]
    assert second.json()["user_id"] == other.id


async def test_what_was_refused_may_be_tried_again(client: Client, buyer: Caller) -> None:
    too_many = {"items": [{"sku": "TEA-GREEN", "quantity": 1000}]}
    assert (await place(client, buyer, basket=too_many)).status == 409
    assert (await place(client, buyer, basket={"items": []})).status == 422
    assert (await place(client, buyer)).status == 201


async def test_of_many_at_once_one_is_done(client: Client, buyer: Caller) -> None:
    replies = await asyncio.gather(*(place(client, buyer) for _ in range(12)))
    found = Counter(reply.status for reply in replies)
    assert set(found) <= {201, 409}
    assert {reply.code for reply in replies if reply.status == 409} <= {"idempotency.in_flight"}
    assert all(reply.headers["retry-after"] == "1" for reply in replies if reply.status == 409)
    assert len({reply.body for reply in replies if reply.status == 201}) == 1
    assert await orders(client, buyer) == 1
    assert (await place(client, buyer)).body == next(reply.body for reply in replies if reply.status == 201)


async def test_an_error_behind_the_effect_takes_it_back(
    running: Fortress, client: Client, buyer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer and the effect are one commit: without the one there is not the other."""

    def failing(*_: object) -> None:
        raise RuntimeError("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(Replays, "_kept", failing)
        assert (await place(client, buyer)).status == 500
    assert await orders(client, buyer) == 0
    assert (await place(client, buyer)).status == 201
    place_order = OrderService.place

    async def placing_and_failing(self: OrderService, *given: object) -> object:
        await place_order(self, *given)  # type: ignore[arg-type]
        raise RuntimeError("behind the unit")

    with monkeypatch.context() as broken:
        broken.setattr(OrderService, "place", placing_and_failing)
        assert (await place(client, buyer, "two")).status == 500
    assert await orders(client, buyer) == 1
    assert (await place(client, buyer, "two")).status == 201


async def test_it_costs_one_round_trip(running: Fortress, client: Client, buyer: Caller) -> None:
    assert running.runtime is not None
    database = running.runtime.container.get(Database)

    async def cost(**headers: str) -> int:
        with database.counting() as count:
            assert (await client.post("/orders", BASKET, headers=headers, as_=buyer)).status == 201
        return count.round_trips

    await cost(), await cost(**{"idempotency-key": "warm"})
    plain = min([await cost() for _ in range(5)])
    assert min([await cost(**{"idempotency-key": f"k{number}"}) for number in range(5)]) <= plain + 1


async def test_a_day_later_the_key_is_new(running: Fortress, client: Client, buyer: Caller) -> None:
    await place(client, buyer)
    assert running.runtime is not None
    database = running.runtime.container.get(Database)
    # As if it had been yesterday.
    await database.run("UPDATE kept_answers SET created_at = created_at - $1::interval RETURNING 1", timedelta(hours=24, minutes=1))
    again = await place(client, buyer)
    assert "idempotency-replayed" not in again.headers
    assert await orders(client, buyer) == 2


async def test_the_kept_answer_shows_nothing(running: Fortress, client: Client, buyer: Caller) -> None:
    await place(client, buyer, "a-key-of-mine")
    assert running.runtime is not None
    rows = await running.runtime.container.get(Database).reader(SYSTEM).rows("SELECT kept_answers::text AS row FROM kept_answers", [])
    assert len(rows) == 1
    for secret in ("a-key-of-mine", "Ring twice"):
        assert secret not in rows[0]["row"]
        assert secret.encode().hex() not in rows[0]["row"]


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "two words", "ü", '"open', "a\tb"])
async def test_a_malformed_key_is_refused(client: Client, buyer: Caller, key: str) -> None:
    refused = await place(client, buyer, key)
    assert (refused.status, refused.code) == (400, "request.malformed")
    assert await orders(client, buyer) == 0
