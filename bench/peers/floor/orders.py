"""Placing an order in as few statements as it can be said in."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

_RESERVE: Final = "UPDATE products SET stock = stock - $2 WHERE sku = $1 AND stock >= $2 RETURNING name, price"
_PLACE: Final = """
WITH placed AS (
    INSERT INTO orders (id, user_id, status, total, lines, created_at, version) VALUES ($1, $2, 'placed', $3, $4, now(), 1)
    RETURNING id, user_id, status, total, lines, created_at, version
), audit AS (
    INSERT INTO audit_log (id, at, actor_id, action, target) VALUES ($5, now(), $2, 'orders.placed', $1::uuid::text)
), event AS (
    INSERT INTO events (id, at, name, aggregate_id, payload) VALUES ($6, now(), 'orders.placed', $1, '{}')
)
SELECT * FROM placed
"""


class Order(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID
    status: str
    total: Decimal
    lines: msgspec.Raw
    created_at: datetime
    version: int


async def place(connection: Any, wanted: list[dict[str, Any]], user: UUID, key: UUID) -> Order:
    """Reserve one item and write order, line, audit row and fact.

    Raises:
        LookupError: there is not enough of it.
    """
    (item,) = wanted
    taken: asyncpg.Record | None = await connection.fetchrow(_RESERVE, item["sku"], item["quantity"])
    if taken is None:
        raise LookupError(item["sku"])
    line = {"sku": item["sku"], "name": taken["name"], "quantity": item["quantity"], "price": str(taken["price"])}
    values = (key, user, taken["price"] * item["quantity"], msgspec.json.encode([line]).decode(), uuid4(), uuid4())
    return order(await connection.fetchrow(_PLACE, *values))


def order(row: asyncpg.Record) -> Order:
    """A row as what goes out; its lines are JSON already."""
    key, user, status, total, lines, created_at, version = row
    return Order(key, user, status, total, msgspec.Raw(lines.encode()), created_at, version)
