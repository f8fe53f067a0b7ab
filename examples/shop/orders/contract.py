"""The door. Other domains call this and nothing else."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from fortress import Conflict, Invalid


class Orders(Protocol):
    """What other domains may ask of orders."""

    async def open_orders_of(self, person: UUID) -> int:
        """How many orders of this person are not finished yet."""
        ...


class OutOfStock(Conflict):
    """Fewer units are left than were asked for."""

    code, title = "orders.out_of_stock", "Not enough is left"

    def __init__(self, sku: str, left: int) -> None:
        super().__init__(f"Only {left} of {sku} are left.", data={"sku": sku, "left": left})


class UnknownProduct(Invalid):
    """A product that was asked for does not exist."""

    code, title = "orders.unknown_product", "There is no such product"


class NotCancellable(Conflict):
    """The order has gone too far to be called off."""

    code, title = "orders.not_cancellable", "This order can't be cancelled any more"


class NotChangeable(Conflict):
    """The order has gone too far to be changed."""

    code, title = "orders.not_changeable", "This order can't be changed any more"
