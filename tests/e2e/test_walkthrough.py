"""The README's walk-through, step by step, and what each step leaves behind."""

from __future__ import annotations

import pytest

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 2}, {"sku": "CUP-STONE", "quantity": 1}]}


async def an_order(client: Client, buyer: Caller) -> str:
    placed = await client.post("/orders", BASKET, as_=buyer)
    assert placed.status == 201, placed.body
    return str(placed.json()["id"])


async def test_from_sign_up_to_sign_out(client: Client, callers: Callers) -> None:
    buyer = await callers.person("ann")
    products = await client.get("/products")
    assert {item["sku"] for item in products.json()["items"]} >= {"TEA-GREEN", "CUP-STONE"}
    placed = await client.post("/orders", BASKET, as_=buyer)
    assert placed.status == 201
    assert placed.json()["total"] == "27.00"
    read = await client.call("GET", placed.headers["location"], base="", as_=buyer)
    assert read.json() == placed.json()
    pair = await callers.tokens(buyer.email, PASSWORD)
    renewed = await client.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
    assert renewed.status == 200
    assert renewed.json()["refresh_token"] != pair["refresh_token"]
    session = Caller("ann", headers={"authorization": f"Bearer {renewed.json()['access_token']}"})
    assert (await client.post("/auth/logout", as_=session)).status == 204
    assert (await client.get("/users/me", as_=session)).status == 401
    assert (await client.get("/users/me", as_=buyer)).status == 200


@pytest.mark.parametrize(("who", "status"), [("nobody", 401), ("stranger", 404), ("owner", 200), ("clerk", 200)])
async def test_an_order_is_seen_by_its_buyer_and_by_clerks(client: Client, callers: Callers, who: str, status: int) -> None:
    owner = await callers.person("owner")
    order = await an_order(client, owner)
    others = {"nobody": callers.nobody, "owner": owner}
    caller = others.get(who) or await callers.person(who, roles=["member", "clerk" if who == "clerk" else "customer"])
    answer = await client.get(f"/orders/{order}", as_=caller)
    assert answer.status == status
    if status != 200:
        assert order not in answer.body.decode().replace(answer.json()["instance"], "")


async def test_a_list_shows_ones_own_orders_only(client: Client, callers: Callers) -> None:
    ann, ben = await callers.person("ann"), await callers.person("ben")
    mine = await an_order(client, ann)
    await an_order(client, ben)
    assert [item["id"] for item in (await client.get("/orders", as_=ann)).json()["items"]] == [mine]


async def test_an_order_that_is_not_there_and_one_that_is_not_mine_look_the_same(client: Client, callers: Callers) -> None:
    owner, stranger = await callers.person("owner"), await callers.person("stranger")
    order = await an_order(client, owner)
    hidden = await client.get(f"/orders/{order}", as_=stranger)
    absent = await client.get("/orders/01a2053f-e4f4-737b-a0aa-fca20d01e174", as_=stranger)
    vary = ("instance", "request_id", "timestamp")
    assert [{k: v for k, v in reply.json().items() if k not in vary} for reply in (hidden,)] == [
        {k: v for k, v in absent.json().items() if k not in vary}
    ]


async def test_cancelling_frees_the_stock_and_can_be_done_once(client: Client, callers: Callers) -> None:
    buyer, other = await callers.person(), await callers.person()
    last = {"items": [{"sku": "HONEY-JAR", "quantity": 1}]}
    order = (await client.post("/orders", last, as_=buyer)).json()["id"]
    refused = await client.post("/orders", last, as_=other)
    assert (refused.status, refused.code, refused.json()["left"]) == (409, "orders.out_of_stock", 0)
    assert (await client.post(f"/orders/{order}/cancellation", as_=other)).status == 404
    assert (await client.post(f"/orders/{order}/cancellation", as_=buyer)).json()["status"] == "cancelled"
    assert (await client.post(f"/orders/{order}/cancellation", as_=buyer)).code == "orders.not_cancellable"
    assert (await client.post("/orders", last, as_=other)).status == 201


async def test_both_versions_are_served_and_the_old_one_says_when_it_ends(client: Client) -> None:
    old = await client.get("/products?limit=1")
    new = await client.call("GET", "/products?limit=1", base="/api/v2")
    assert isinstance(old.json()["items"][0]["price"], str)
    assert new.json()["items"][0]["price"]["currency"] == "EUR"
    assert old.headers["deprecation"].startswith("@")
    assert old.headers["sunset"].endswith("GMT")
    assert any(b'rel="successor-version"' in value for name, value in old.raw_headers if name == b"link")
    assert "deprecation" not in new.headers


async def test_v2_serves_what_did_not_change(client: Client, callers: Callers) -> None:
    buyer = await callers.person()
    placed = await client.call("POST", "/orders", json=BASKET, base="/api/v2", as_=buyer)
    assert placed.headers["location"].startswith("/api/v2/orders/")
    assert (await client.get(f"/orders/{placed.json()['id']}", as_=buyer)).status == 200
