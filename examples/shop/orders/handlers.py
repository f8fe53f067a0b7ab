"""What comes by itself. All of it may be done twice and is as good as done once."""

from __future__ import annotations

from fortress.events import every
from shop.orders.service import OrderService


@every("hour")
async def release_unpaid(orders: OrderService) -> None:
    """Call off what nobody has paid for in time, and put it back on the shelf."""
    await orders.release_unpaid()
