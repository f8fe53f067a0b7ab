"""Orders are changed by merge patches (RFC 7396), and every address says what may be done at it."""

from __future__ import annotations

import pytest

from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}], "note": "for Ann"}
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
async def buyer(callers: Callers) -> Caller:
    return await callers.person()


async def placed(client: Client, buyer: Caller) -> str:
    return f"/orders/{(await client.post('/orders', BASKET, as_=buyer)).json()['id']}"


@pytest.mark.parametrize("headers", [MERGE, {"content-type": 'application/merge-patch+json; charset="utf-8"'}, {}])
async def test_what_is_absent_stays_and_null_takes_away(client: Client, buyer: Caller, headers: dict[str, str]) -> None:
    path = await placed(client, buyer)
    before = (await client.get(path, as_=buyer)).json()
    same = await client.patch(path, {}, headers=headers, as_=buyer)
    assert (same.status, same.json()) == (200, before)
    other = await client.patch(path, {"note": "ring twice"}, headers=headers, as_=buyer)
    assert other.json() == before | {"note": "ring twice", "version": before["version"] + 1}
    gone = await client.patch(path, {"note": None}, headers=headers, as_=buyer)
    assert (gone.status, gone.json()["note"]) == (200, None)
    assert (await client.get(path, as_=buyer)).json() == gone.json()


@pytest.mark.parametrize("sent", [{"total": "0.01"}, {"status": "shipped"}, {"note": ""}, {"note": 3}, {"version": 9}, []])
async def test_nothing_else_can_be_changed(client: Client, buyer: Caller, sent: object) -> None:
    path = await placed(client, buyer)
    before = (await client.get(path, as_=buyer)).json()
    assert (await client.patch(path, sent, headers=MERGE, as_=buyer)).status == 422
    assert (await client.get(path, as_=buyer)).json() == before


async def test_another_persons_order_is_not_there(client: Client, callers: Callers, buyer: Caller) -> None:
    path = await placed(client, buyer)
    assert (await client.patch(path, {"note": "mine"}, as_=await callers.person())).status == 404
    assert (await client.patch(path, {"note": "mine"})).status == 401


async def test_a_change_of_what_was_not_seen_is_refused(client: Client, buyer: Caller) -> None:
    path = await placed(client, buyer)
    seen = {"if-match": (await client.get(path, as_=buyer)).headers["etag"]}
    changed = await client.patch(path, {"note": "first"}, headers=MERGE | seen, as_=buyer)
    assert (changed.status, changed.headers["etag"] != seen["if-match"]) == (200, True)
    for note in ("second", "first"):
        refused = await client.patch(path, {"note": note}, headers=MERGE | seen, as_=buyer)
        assert (refused.status, refused.code) == (412, "precondition.failed")
    assert (await client.get(path, as_=buyer)).json() == changed.json()


async def test_an_order_that_was_called_off_stays_as_it_is(client: Client, buyer: Caller) -> None:
    path = await placed(client, buyer)
    assert (await client.post(f"{path}/cancellation", as_=buyer)).status == 200
    refused = await client.patch(path, {"note": "too late"}, as_=buyer)
    assert (refused.status, refused.code) == (409, "orders.not_changeable")


@pytest.mark.parametrize("kind", ["application/json-patch+json", "text/plain", "application/merge-patch+json; charset=latin-1"])
async def test_another_kind_of_patch_is_refused_with_those_that_there_are(client: Client, buyer: Caller, kind: str) -> None:
    path = await placed(client, buyer)
    refused = await client.patch(path, [], headers={"content-type": kind}, as_=buyer)
    assert (refused.status, refused.code) == (415, "request.unsupported_media_type")
    assert refused.headers["accept-patch"] == "application/merge-patch+json, application/json"
    placing = await client.post("/orders", BASKET, headers=MERGE, as_=buyer)
    assert (placing.status, placing.headers["accept"]) == (415, "application/json")


async def test_every_address_says_without_a_login_what_may_be_done_there(client: Client) -> None:
    path = "/orders/01890000-0000-7000-8000-000000000000"
    said = await client.call("OPTIONS", path)
    assert (said.status, said.headers["allow"], said.body) == (204, "GET, HEAD, OPTIONS, PATCH", b"")
    assert said.headers["accept-patch"] == "application/merge-patch+json, application/json"
    refused = await client.call("DELETE", path)
    assert (refused.status, refused.code, refused.headers["allow"]) == (405, "request.method_not_allowed", "GET, HEAD, OPTIONS, PATCH")
    assert "accept-patch" not in (await client.call("OPTIONS", "/products")).headers


async def test_head_has_the_headers_of_get_and_no_body(client: Client, buyer: Caller) -> None:
    for path in (await placed(client, buyer), "/orders?limit=2", "/products"):
        whole, head = await client.get(path, as_=buyer), await client.call("HEAD", path, as_=buyer)
        changing = {"x-request-id", "ratelimit"}
        assert (head.status, head.body) == (whole.status, b"")
        assert {n: v for n, v in head.headers.items() if n not in changing} == {n: v for n, v in whole.headers.items() if n not in changing}


async def test_a_name_of_ones_own_is_changed_by_a_merge_patch(client: Client, buyer: Caller) -> None:
    named = await client.patch("/users/me", {"name": "Ann"}, headers=MERGE, as_=buyer)
    assert (named.status, named.json()["name"]) == (200, "Ann")
    assert (await client.patch("/users/me", {}, headers=MERGE, as_=buyer)).json()["name"] == "Ann"
    assert (await client.patch("/users/me", {"name": None}, headers=MERGE, as_=buyer)).json()["name"] is None
