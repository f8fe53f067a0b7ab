"""What we do when something has happened, and what comes by itself. All of it may be done twice and is as good as done once."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from fortress import NotificationData, NotificationKind
from fortress.data import Unit
from fortress.domains import Notifications
from fortress.events import Event, every, on
from shop.orders.events import OrderCancelled, OrderPlaced
from shop.orders.models import Sale
from shop.orders.repository import SaleRepository
from shop.orders.service import OrderService


class OrderLetter(NotificationData, frozen=True):
    """What mails about an order are filled with."""

    order: str
    total: Decimal = Decimal(0)


# The samples are what the templates are tried with when the shop starts.
PLACED: Final = NotificationKind("orders.placed", "Your orders", OrderLetter("01890000-0000", Decimal("27.00")))
CANCELLED: Final = NotificationKind("orders.cancelled", "Orders that were called off", OrderLetter("01890000-0000"))


@on(OrderPlaced)
async def count_sale(fact: OrderPlaced, event: Event, unit: Unit, sales: SaleRepository) -> None:
    """Write into the books what was sold."""
    await sales.add(unit, Sale(fact.order_id, fact.total, event.at))


@on(OrderPlaced)
async def confirm(fact: OrderPlaced, unit: Unit, notifications: Notifications) -> None:
    """Tell the buyer that we have their order, once for each order."""
    letter = OrderLetter(str(fact.order_id), fact.total)
    await notifications.tell(unit, fact.buyer_id, PLACED, letter, once=str(fact.order_id))


@on(OrderCancelled)
async def regret(fact: OrderCancelled, unit: Unit, notifications: Notifications) -> None:
    """Tell the buyer that their order was called off."""
    await notifications.tell(unit, fact.buyer_id, CANCELLED, OrderLetter(str(fact.order_id)), once=str(fact.order_id))


@every("hour")
async def release_unpaid(orders: OrderService) -> None:
    """Call off what nobody has paid for in time, and put it back on the shelf."""
    await orders.release_unpaid()
