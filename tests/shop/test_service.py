"""The shop's use cases, over a database that forgets each test; what only decides is tested without one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from fortress.bootstrap.container import Container
from fortress.data import Database, PageQuery
from fortress.errors import NotFound
from fortress.security import SYSTEM, Method, Principal, Reach
from fortress.testing.jobs import Jobs, WaitingJob
from shop.orders.contract import NotCancellable, OutOfStock, UnknownProduct
from shop.orders.models import OrderLine, OrderStatus, Product
from shop.orders.rest import Item, PlaceOrder
from shop.orders.service import OrderRecords, OrderService, draft, quantities, why_not

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASKET: Mapping[str, int] = {"TEA-GREEN": 2, "CUP-STONE": 1}


@pytest.fixture
def orders(services: Container) -> OrderService:
    return services.get(OrderService)


@pytest.fixture
def ann() -> Principal:
    return Principal(uuid4(), Method.SESSION)


@pytest.fixture
def ben() -> Principal:
    return Principal(uuid4(), Method.SESSION)


async def stock(database: Database) -> dict[str, int]:
    rows = await database.reader(SYSTEM).rows("SELECT sku, stock FROM products", [])
    return {row["sku"]: row["stock"] for row in rows}


async def written(database: Database, order: UUID) -> tuple[list[str], list[str]]:
    """The actions audited and the facts recorded of an order."""
    reader = database.reader(SYSTEM)
    actions = await reader.rows("SELECT action FROM audit_log WHERE target = $1 ORDER BY seq", [str(order)])
    facts = await reader.rows("SELECT name FROM events WHERE aggregate = $1 ORDER BY seq", [order])
    return [row["action"] for row in actions], [row["name"] for row in facts]


async def test_placing_takes_the_stock_and_says_so_in_both_logs(orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    before = await stock(rolled_back)
    order = await orders.place(BASKET, ann)
    assert (order.status, order.total, order.user_id) == (OrderStatus.PLACED, Decimal("27.00"), ann.id)
    after = await stock(rolled_back)
    assert {sku: before[sku] - left for sku, left in after.items() if left != before[sku]} == BASKET
    assert await orders.read(order.id, ann) == order
    assert await written(rolled_back, order.id) == (["orders.placed"], ["OrderPlaced"])
    assert await orders.open_orders_of(ann.id) == 1


async def test_placing_costs_at_most_five_round_trips(orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    with rolled_back.counting() as count:
        await orders.place(BASKET, ann)
    assert count.round_trips <= 5


async def test_one_product_too_few_and_nothing_is_taken(orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    before = await stock(rolled_back)
    with pytest.raises(OutOfStock) as refused:
        await orders.place({"TEA-GREEN": 1, "HONEY-JAR": 2}, ann)
    assert refused.value.data == {"sku": "HONEY-JAR", "left": 1}
    assert await stock(rolled_back) == before
    assert (await orders.recent(PageQuery(10), ann)).items == []


async def test_a_product_that_does_not_exist_is_named(orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    before = await stock(rolled_back)
    with pytest.raises(UnknownProduct) as refused:
        await orders.place({"TEA-GREEN": 1, "MOON": 1}, ann)
    assert "MOON" in str(refused.value.errors)
    assert await stock(rolled_back) == before


async def test_cancelling_puts_everything_back_once(orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    before = await stock(rolled_back)
    order = await orders.place(BASKET, ann)
    assert (await orders.cancel(order.id, ann)).status is OrderStatus.CANCELLED
    assert await stock(rolled_back) == before
    with pytest.raises(NotCancellable):
        await orders.cancel(order.id, ann)
    assert await stock(rolled_back) == before
    assert await written(rolled_back, order.id) == (["orders.placed", "orders.cancelled"], ["OrderPlaced", "OrderCancelled"])
    assert await orders.open_orders_of(ann.id) == 0


async def test_another_persons_order_is_not_there_unless_ones_reach_is_everyone(
    orders: OrderService, ann: Principal, ben: Principal
) -> None:
    order = await orders.place(BASKET, ann)
    with pytest.raises(NotFound):
        await orders.read(order.id, ben)
    with pytest.raises(NotFound):
        await orders.cancel(order.id, ben)
    clerk = ben.reaching(Reach.ANY)
    assert await orders.read(order.id, clerk) == order
    assert (await orders.cancel(order.id, clerk)).user_id == ann.id


def a_product(sku: str, price: str = "1.00", stock: int = 5) -> Product:
    return Product(uuid4(), sku, sku.title(), Decimal(price), stock, NOON)


def test_a_draft_holds_prices_of_now_and_their_sum() -> None:
    buyer, order_id = Principal(uuid4(), Method.SESSION), uuid4()
    order = draft(order_id, [a_product("TEA", "6.50"), a_product("CUP", "14.00")], {"TEA": 3, "CUP": 1}, buyer, NOON)
    assert [(line.sku, line.quantity, line.price) for line in order.lines] == [("CUP", 1, Decimal("14.00")), ("TEA", 3, Decimal("6.50"))]
    assert (order.id, order.user_id, order.total, order.created_at) == (order_id, buyer.id, Decimal("33.50"), NOON)


def test_quantities_add_up_lines_of_one_product() -> None:
    lines = [OrderLine("TEA", "Tea", 2, Decimal(1)), OrderLine("CUP", "Cup", 1, Decimal(1)), OrderLine("TEA", "Tea", 3, Decimal(2))]
    assert quantities(lines) == {"TEA": 5, "CUP": 1}
    assert quantities([]) == {}


def test_the_reason_is_an_unknown_product_before_a_short_one() -> None:
    known = [a_product("TEA", stock=0), a_product("CUP", stock=9)]
    reason = why_not({"TEA": 1, "MOON": 1, "SUN": 1}, known, {"CUP"})
    assert isinstance(reason, UnknownProduct)
    assert [error.message for error in reason.errors] == ["There is no product MOON", "There is no product SUN"]
    short = why_not({"CUP": 2, "TEA": 1}, known, {"CUP"})
    assert isinstance(short, OutOfStock)
    assert short.data == {"sku": "TEA", "left": 0}


async def test_a_note_is_kept_for_the_buyer_and_nobody_reads_it_in_the_table(
    services: Container, orders: OrderService, rolled_back: Database, ann: Principal
) -> None:
    order = await orders.place(BASKET, ann, "Ring twice.\nThe dog is friendly.")
    assert (await orders.read(order.id, ann)).note == order.note
    (kept,) = await rolled_back.reader(SYSTEM).rows("SELECT note FROM orders WHERE id = $1", [order.id])
    assert b"dog" not in kept["note"]
    records = services.get(OrderRecords)
    assert await records.export(ann.id) == {"orders": [order]}


async def test_what_is_erased_leaves_the_amounts(services: Container, orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    order = await orders.place(BASKET, ann, "Ring twice")
    async with rolled_back.unit(SYSTEM) as unit:
        await services.get(OrderRecords).erase(unit, ann.id)
    left = await orders.read(order.id, ann)
    assert (left.note, left.total, left.version) == (None, order.total, 2)


async def test_an_order_whose_buyers_key_is_gone_is_still_an_order(orders: OrderService, rolled_back: Database, ann: Principal) -> None:
    order = await orders.place(BASKET, ann, "Ring twice")
    async with rolled_back.unit(SYSTEM) as unit:
        await rolled_back.personal.erase(unit, ann.id)
    assert (await orders.read(order.id, ann)).note is None


@pytest.mark.parametrize("note", ["", "x" * 501, "a\0b", "a\x1bb", "a\u202eb", "a\tb"])
def test_a_note_is_text_of_some_lines(note: str) -> None:
    with pytest.raises(ValidationError):
        PlaceOrder(items=[Item(sku="TEA", quantity=1)], note=note)
    assert PlaceOrder(items=[Item(sku="TEA", quantity=1)], note="one\r\ntwo ünï").note


async def test_an_order_leaves_a_look_at_the_shelves_which_tells_what_is_scarce(
    orders: OrderService, rolled_back: Database, ann: Principal, jobs: Jobs
) -> None:
    await orders.place({"TEA-GREEN": 1, "HONEY-JAR": 1}, ann)
    assert await jobs.waiting() == [WaitingJob("orders.look_at_shelves", {"skus": ["HONEY-JAR", "TEA-GREEN"]})]
    assert await jobs.settle() == 1
    assert await jobs.waiting() == []
    told = await rolled_back.reader(SYSTEM).rows("SELECT payload->>'sku' AS sku, request_id FROM events WHERE name = 'StockLow'", [])
    assert [row["sku"] for row in told] == ["HONEY-JAR"]


async def test_what_nobody_paid_for_is_called_off_and_what_can_not_be_holds_nothing_back(
    orders: OrderService, rolled_back: Database, ann: Principal
) -> None:
    before = await stock(rolled_back)
    old, shipped, fresh = [await orders.place(BASKET, ann) for _ in range(3)]
    await rolled_back.run("UPDATE orders SET created_at = created_at - interval '15 days' WHERE id <> $1", fresh.id)
    await rolled_back.run("UPDATE orders SET status = 'shipped' WHERE id = $1", shipped.id)
    await orders.release_unpaid()
    await orders.release_unpaid()
    assert [(await orders.read(one.id, ann)).status.value for one in (old, shipped, fresh)] == ["cancelled", "shipped", "placed"]
    after = await stock(rolled_back)
    assert {sku: before[sku] - left for sku, left in after.items() if left != before[sku]} == {"TEA-GREEN": 4, "CUP-STONE": 2}
