"""Facts, past tense, versioned. All that other domains may hear of us."""

from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from fortress.events import Fact


class OrderPlaced(Fact, frozen=True):
    """A person bought something; stock is already reserved."""

    version: ClassVar[int] = 1
    order_id: UUID
    buyer_id: UUID
    total: Decimal


class OrderCancelled(Fact, frozen=True):
    """An order was called off; its stock is free again."""

    version: ClassVar[int] = 1
    order_id: UUID
    buyer_id: UUID


class StockLow(Fact, frozen=True):
    """Few units of a product are left; told again with each order until somebody restocks it."""

    version: ClassVar[int] = 1
    product_id: UUID
    sku: str
    left: int
