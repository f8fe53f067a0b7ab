"""The peers' database: made anew for each run, always with the same rows."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

USERS: Final = 100
PRODUCTS: Final = 1_000
ORDERS: Final = 10_000
SCOPES: Final = "orders:read orders:place"
PRICE: Final = Decimal("9.90")
STOCK: Final = 1_000_000_000
_SEED: Final = 20_240_601
START: Final = datetime(2024, 6, 1, tzinfo=UTC)

OrderRow = tuple[UUID, UUID, str, Decimal, str, datetime, int]


def _ids(count: int, stream: int) -> list[UUID]:
    source = random.Random(_SEED + stream)
    return [UUID(int=source.getrandbits(128), version=4) for _ in range(count)]


def user_ids() -> list[UUID]:
    return _ids(USERS, 1)


def skus() -> list[str]:
    return [f"sku-{number:04}" for number in range(PRODUCTS)]


def product_rows() -> list[tuple[UUID, str, str, Decimal, int]]:
    return [(key, sku, f"Product {sku}", PRICE, STOCK) for key, sku in zip(_ids(PRODUCTS, 3), skus(), strict=True)]


def order_rows(users: list[UUID]) -> list[OrderRow]:
    """Orders spread evenly over the users, a minute apart."""
    return [_order(number, key, users[number % len(users)]) for number, key in enumerate(_ids(ORDERS, 2))]


def _order(number: int, key: UUID, user: UUID) -> OrderRow:
    quantity = number % 9 + 1
    sku = f"sku-{number % PRODUCTS:04}"
    lines = json.dumps([{"sku": sku, "name": f"Product {sku}", "quantity": quantity, "price": str(PRICE)}])
    return key, user, "placed", PRICE * quantity, lines, START + timedelta(minutes=number), 1


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    before, query = url.partition("?")[::2]
    return f"{before.rpartition('/')[0]}/{name}{'?' + query if query else ''}"


async def recreate(admin_url: str, name: str) -> str:
    """An empty database of this name; what was there is dropped.

    Returns:
        Its URL.
    """
    connection = await asyncpg.connect(admin_url, timeout=10)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return with_database(admin_url, name)


async def peers_database(admin_url: str, name: str) -> str:
    """The peers' tables and rows in a new database; returns its URL."""
    url = await recreate(admin_url, name)
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute((Path(__file__).parent / "peers" / "schema.sql").read_text("utf-8"))
        await _fill(connection)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return url


async def _fill(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    users = user_ids()
    people = [(key, f"user{number}@example.com", True, SCOPES) for number, key in enumerate(users)]
    await connection.copy_records_to_table("users", records=people, columns=["id", "email", "active", "scopes"])
    await connection.copy_records_to_table("products", records=product_rows())
    await connection.copy_records_to_table("orders", records=order_rows(users))
