"""What a client has is not sent again, and what it has not seen not overwritten (RFC 9110 §13)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client, Reply

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}


async def placed(client: Client, buyer: Caller) -> Reply:
    reply = await client.post("/orders", BASKET, as_=buyer)
    assert reply.status == 201
    return reply


@pytest.fixture
async def buyer(callers: Callers) -> Caller:
    return await callers.person()


async def test_an_order_carries_its_version_as_its_tag(client: Client, buyer: Caller) -> None:
    order = await placed(client, buyer)
    read = await client.get(order.headers["location"].removeprefix("/api/v1"), as_=buyer)
    assert order.headers["etag"] == read.headers["etag"] == f'"{read.json()["version"]}"'
    cancelled = await client.post(f"/orders/{read.json()['id']}/cancellation", as_=buyer)
    assert cancelled.headers["etag"] != read.headers["etag"]


@pytest.mark.parametrize("given", ["{}", "W/{}", '"x", {}', '{} , W/"y"', "*"])
async def test_what_the_client_has_is_not_sent_again(client: Client, buyer: Caller, given: str) -> None:
    path = (await placed(client, buyer)).headers["location"].removeprefix("/api/v1")
    tag = (await client.get(path, as_=buyer)).headers["etag"]
    for method in ("GET", "HEAD"):
        answer = await client.call(method, path, headers={"if-none-match": given.format(tag)}, as_=buyer)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == tag
        assert "content-length" not in answer.headers
        assert "ratelimit" in answer.headers


@pytest.mark.parametrize("given", ['"x"', 'W/"x"', "nothing", "", ",", '"1" "2"', "'1'", '"a",' * 30])
async def test_what_the_client_has_not_is_sent(client: Client, buyer: Caller, given: str) -> None:
    """A malformed If-None-Match is ignored: the answer is right without it."""
    path = (await placed(client, buyer)).headers["location"].removeprefix("/api/v1")
    answer = await client.get(path, headers={"if-none-match": given}, as_=buyer)
    assert answer.status == 200
    assert answer.json()["id"] in path


async def test_a_stranger_is_told_nothing_by_a_tag(client: Client, callers: Callers, buyer: Caller) -> None:
    path = (await placed(client, buyer)).headers["location"].removeprefix("/api/v1")
    for given in ('"1"', "*"):
        assert (await client.get(path, headers={"if-none-match": given}, as_=await callers.person())).status == 404


async def test_a_list_has_a_weak_tag_where_it_says_so(client: Client) -> None:
    first = await client.get("/products?limit=2")
    assert first.headers["etag"].startswith('W/"')
    assert (await client.get("/products?limit=2", headers={"if-none-match": first.headers["etag"]})).status == 304
    assert (await client.get("/products?limit=3", headers={"if-none-match": first.headers["etag"]})).status == 200


async def test_a_change_of_what_was_not_seen_is_refused(client: Client, buyer: Caller) -> None:
    order = await placed(client, buyer)
    path = f"/orders/{order.json()['id']}/cancellation"
    for given in ('"99"', 'W/"1"', '"x"', '"1e0"'):
        refused = await client.post(path, headers={"if-match": given}, as_=buyer)
        assert (refused.status, refused.code) == (412, "precondition.failed")
    malformed = await client.post(path, headers={"if-match": "1"}, as_=buyer)
    assert (malformed.status, malformed.code) == (400, "request.malformed")
    assert (await client.get(f"/orders/{order.json()['id']}", as_=buyer)).json()["status"] == "placed"
    done = await client.post(path, headers={"if-match": f'"7", {order.headers["etag"]}'}, as_=buyer)
    assert (done.status, done.json()["status"]) == (200, "cancelled")


async def test_of_ten_that_have_seen_the_same_one_changes_it(client: Client, buyer: Caller) -> None:
    """The check and the change are one: who comes between them is refused with 412 too."""
    order = await placed(client, buyer)
    path, seen = f"/orders/{order.json()['id']}/cancellation", {"if-match": order.headers["etag"]}
    found = Counter([one.status for one in await asyncio.gather(*(client.post(path, headers=seen, as_=buyer) for _ in range(10)))])
    assert found[200] == 1
    assert found[412] == 9
