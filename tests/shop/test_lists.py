"""Lists of the shop: narrowed and sorted by what they declare, and by nothing else."""

from __future__ import annotations

import pytest

from fortress.testing.callers import Callers
from fortress.testing.client import Client

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}


async def test_products_are_sorted_either_way_page_by_page(client: Client) -> None:
    for sort, column in (("price", "price"), ("-price", "price"), ("name", "name"), ("-name", "name")):
        seen: list[str] = []
        path: str | None = f"/products?limit=2&sort={sort}"
        while path:
            page = (await client.get(path)).json()
            seen += [product[column] for product in page["items"]]
            path = f"/products?limit=2&sort={sort}&cursor={page['next']}" if page["next"] else None
        key = float if column == "price" else str
        assert seen == sorted(seen, key=key, reverse=sort.startswith("-"))
        assert len(seen) > 2


async def test_orders_of_one_status(client: Client, callers: Callers) -> None:
    buyer = await callers.person()
    placed = [(await client.post("/orders", BASKET, as_=buyer)).json()["id"] for _ in range(3)]
    assert (await client.post(f"/orders/{placed[1]}/cancellation", as_=buyer)).status == 200

    async def listed(query: str) -> list[str]:
        return [order["id"] for order in (await client.get(f"/orders?{query}", as_=buyer)).json()["items"]]

    assert await listed("status=cancelled") == [placed[1]]
    assert await listed("status=placed") == [placed[2], placed[0]]
    assert await listed("status=placed&sort=created_at") == [placed[0], placed[2]]
    assert await listed("status=shipped") == []


@pytest.mark.parametrize(
    ("path", "field", "said"),
    [
        ("/orders?total=1", "?total", "Those that are: limit, cursor, status, sort"),
        ("/orders?sort=total", "?sort", "'created_at' or '-created_at'"),
        ("/orders?status=lost", "?status", "'placed', 'shipped' or 'cancelled'"),
        ("/products?status=placed", "?status", "Those that are: limit, cursor, sort"),
        ("/audit?colour=red", "?colour", "Those that are: "),
    ],
)
async def test_what_is_not_declared_is_refused_with_what_is(client: Client, callers: Callers, path: str, field: str, said: str) -> None:
    refused = await client.get(path, as_=await callers.administrator())
    assert refused.status == 422
    (fault,) = refused.json()["errors"]
    assert fault["field"] == field
    assert said in fault["message"]


async def test_a_cursor_of_another_order_is_refused(client: Client) -> None:
    cursor = (await client.get("/products?limit=1&sort=price")).json()["next"]
    for other in ("sort=name", "sort=-price", "limit=1"):
        refused = await client.get(f"/products?{other}&cursor={cursor}")
        assert (refused.status, refused.json()["errors"][0]["field"]) == (422, "?cursor")


async def test_fields_that_nobody_asked_for_are_left_out(client: Client, callers: Callers) -> None:
    buyer = await callers.person()
    for _ in range(3):
        assert (await client.post("/orders", BASKET, as_=buyer)).status == 201
    page = await client.get("/orders?fields=status,id&limit=2&status=placed", as_=buyer)
    assert [list(order) for order in page.json()["items"]] == [["id", "status"]] * 2
    assert "fields=status%2Cid" in page.headers["link"]
    rest = await client.get(page.headers["link"].split(">")[0].removeprefix("</api/v1"), as_=buyer)
    assert [list(order) for order in rest.json()["items"]] == [["id", "status"]]
    whole = (await client.get("/orders?limit=2", as_=buyer)).json()["items"]
    assert [{"id": order["id"], "status": order["status"]} for order in whole] == page.json()["items"]


@pytest.mark.parametrize("fields", ["password", "id,", "", "id,total,nothing", "items", "ID"])
async def test_fields_that_are_not_there_are_refused_with_those_that_are(client: Client, callers: Callers, fields: str) -> None:
    refused = await client.get(f"/orders?fields={fields}", as_=await callers.person())
    (fault,) = refused.json()["errors"]
    assert (refused.status, fault["field"]) == (422, "?fields")
    assert "id, user_id, status, total" in fault["message"]


async def test_where_nothing_says_so_fields_can_not_be_chosen(client: Client) -> None:
    assert (await client.get("/products?fields=id")).status == 422
