"""A small order twice: with a fact, an audit row and two subscribers, and with none of these."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from bench.project.routes import CONSTANT, USUAL_LIMIT
from fortress import Ids
from fortress.data import Database, Entity, Key, Repository, Unit, change, update
from fortress.events import Event, Fact, on
from fortress.http import Created, per_minute, post
from fortress.security import Principal

SKU: Final = UUID(int=1)


class Placed(Fact, frozen=True):
    """An order was placed."""

    order: UUID
    buyer: UUID
    total: str


class Stock(Entity, frozen=True):
    """What is left of the one thing that there is."""

    __tablename__ = "bench_stock"
    id: Key
    left: int


class SmallOrder(Entity, frozen=True):
    """Who took one."""

    __tablename__ = "bench_orders"
    id: Key
    buyer: UUID
    total: str


class Effect(Entity, frozen=True):
    """One row for each fact."""

    __tablename__ = "bench_effects"
    id: Key
    order: UUID


class Stocks(Repository[Stock]):
    """What is left."""

    take = change(update(Stock).where(Stock.c.id == SKU, Stock.c.left > 0).values(left=Stock.c.left - 1))


class SmallOrders(Repository[SmallOrder]):
    """The orders."""


class Effects(Repository[Effect]):
    """What came of the facts."""


class OrderView(msgspec.Struct, frozen=True):
    """What the buyer sees."""

    id: UUID
    total: str


class SmallOrderService:
    """Places them."""

    def __init__(self, database: Database, stocks: Stocks, orders: SmallOrders, ids: Ids) -> None:
        self._database = database
        self._stocks = stocks
        self._orders = orders
        self._ids = ids

    async def quietly(self, caller: Principal) -> OrderView:
        async with self._database.unit(caller) as unit:
            order = await self._placed(unit, caller)
        return OrderView(order.id, order.total)

    async def told(self, caller: Principal) -> OrderView:
        async with self._database.unit(caller) as unit:
            order = await self._placed(unit, caller)
            unit.record(Placed(order.id, caller.id, order.total))
            unit.audit("bench.placed", target=order.id, detail={"total": order.total})
        return OrderView(order.id, order.total)

    async def _placed(self, unit: Unit, caller: Principal) -> SmallOrder:
        await self._stocks.take(unit)
        return await self._orders.add(unit, SmallOrder(self._ids.new(), caller.id, "12.50"))


@post("/bench/orders/quiet", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))
async def place_quietly(orders: SmallOrderService, principal: Principal) -> Created[OrderView]:
    """An order that nobody hears of."""
    order = await orders.quietly(principal)
    return Created(order, at=f"/bench/orders/{order.id}")


@post("/bench/orders/told", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))
async def place_and_tell(orders: SmallOrderService, principal: Principal) -> Created[OrderView]:
    """An order that is in both logs and has two subscribers."""
    order = await orders.told(principal)
    return Created(order, at=f"/bench/orders/{order.id}")


@on(Placed, name="bench.write")
async def write(fact: Placed, unit: Unit, event: Event, effects: Effects) -> None:
    """Writes a row."""
    await effects.add(unit, Effect(event.id, fact.order))


@on(Placed, name="bench.hear")
async def hear(_fact: Placed) -> None:
    """Hears it."""
