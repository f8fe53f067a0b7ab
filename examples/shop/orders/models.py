"""The tables. One declaration is the stored value, the table and the wire shape."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

from fortress.data import Check, CreatedAt, Entity, Index, Key, Numeric, Owner, Personal, Text, Unique, Version, desc


class OrderStatus(StrEnum):
    """How far an order has come."""

    PLACED = "placed"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Product(Entity, frozen=True):
    """Something to buy, and how many of it are left."""

    __tablename__ = "products"
    __indexes__ = (
        Unique("products_sku_key", "sku"),
        Check("ck_products_stock", "stock >= 0"),
        Index("idx_products_created", desc("created_at"), desc("id")),
        Index("idx_products_name", "name", "id"),
        Index("idx_products_price", "price", "id"),
    )

    id: Key
    sku: Annotated[str, Text(40)]
    name: Annotated[str, Text(200)]
    price: Annotated[Decimal, Numeric(12, 2)]
    stock: int
    created_at: CreatedAt


class OrderLine(msgspec.Struct, frozen=True):
    """One product of an order, as it was when it was bought."""

    sku: str
    name: str
    quantity: int
    price: Decimal


class Order(Entity, frozen=True):
    """One purchase by one person.

    Attributes:
        note: what the buyer wants us to know; encrypted, exported, erased.
    """

    __tablename__ = "orders"
    __indexes__ = (
        Index("idx_orders_user_created", "user_id", desc("created_at"), desc("id")),
        Index("idx_orders_created", desc("created_at"), desc("id")),
        Index("idx_orders_placed", "created_at", where="status = 'placed'"),
        Index("idx_orders_status", "status", desc("created_at"), desc("id")),
    )

    id: Key
    user_id: Owner
    status: OrderStatus
    total: Annotated[Decimal, Numeric(12, 2)]
    lines: tuple[OrderLine, ...]
    note: Personal[str | None]
    created_at: CreatedAt
    version: Version


class Sale(Entity, frozen=True):
    """What an order brought in, for the books; its id is the order's."""

    __tablename__ = "sales"
    __indexes__ = (Index("idx_sales_sold", desc("sold_at"), desc("id")),)

    id: Key
    total: Annotated[Decimal, Numeric(12, 2)]
    sold_at: datetime
