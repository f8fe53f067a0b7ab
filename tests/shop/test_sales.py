"""The shop's subscriber, over a database that forgets the test, and over a real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from fortress.bootstrap.container import Container
from fortress.data import Database
from fortress.security import SYSTEM
from shop.orders.repository import SaleRepository
from shop.orders.service import OrderService

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
Settle = Callable[[], Awaitable[None]]


async def test_what_is_bought_stands_in_the_books(services: Container, settle: Settle) -> None:
    orders = services.get(OrderService)
    placed = [await orders.place({"TEA-GREEN": 1}, SYSTEM), await orders.place({"CUP-STONE": 2}, SYSTEM)]
    await settle()
    await settle()
    assert await _books(services) == {order.id: order.total for order in placed}
    later = await orders.place({"TEA-GREEN": 2}, SYSTEM)
    await settle()
    assert len(await _books(services)) == 3
    assert (await _books(services))[later.id] == Decimal("13.00")


async def _books(services: Container) -> dict[UUID, Decimal]:
    sales = await services.get(SaleRepository).since(services.get(Database).reader(SYSTEM), moment=LONG_AGO)
    return {sale.id: sale.total for sale in sales}
