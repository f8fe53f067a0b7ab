"""Placing an order in as few statements as it can be said in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

_RESERVE: Final = "UPDATE products SET stock = stock - $2 WHERE sku = $1 AND stock >= $2 RETURNING price"
_PLACE: Final = """
WITH placed AS (
    INSERT INTO orders (id, user_id, status, total, created_at, version) VALUES ($1, $2, 'placed', $3, now(), 1)
    RETURNING id, user_id, status, total, created_at, version
), line AS (
    INSERT INTO order_lines (id, order_id, sku, quantity, price) SELECT gen_random_uuid(), $1, $4, $5, $6
), audit AS (
    INSERT INTO audit_log (id, at, actor_id, action, target) VALUES ($7, now(), $2, 'orders.placed', $1::uuid::text)
), event AS (
    INSERT INTO events (id, at, name, aggregate_id, payload) VALUES ($8, now(), 'orders.placed', $1, '{}')
)
SELECT * FROM placed
"""


class Order(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID
    status: str
    total: Decimal
    created_at: datetime
    version: int


async def place(connection: Any, wanted: list[dict[str, Any]], user: UUID, key: UUID) -> Order:
    """Reserve one item and write order, line, audit row and fact.

    Raises:
        LookupError: there is not enough of it.
    """
    (item,) = wanted
    price: Decimal | None = await connection.fetchval(_RESERVE, item["sku"], item["quantity"])
    if price is None:
        raise LookupError(item["sku"])
    values = (key, user, price * item["quantity"], item["sku"], item["quantity"], price, uuid4(), uuid4())
    row: asyncpg.Record = await connection.fetchrow(_PLACE, *values)
    return Order(*row)
