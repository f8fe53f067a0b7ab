"""asyncpg as its own page has it: a pool, acquired for each question."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg

from bench.worker import Operations

_FIELDS: Final = "id, user_id, status, total, created_at, version"
ONE: Final = f"SELECT {_FIELDS} FROM orders WHERE id = $1 AND user_id = $2"
PAGE: Final = f"SELECT {_FIELDS} FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 51"


@asynccontextmanager
async def get_by_id(url: str, key: str, user: str) -> Operations:
    """Acquire, fetchrow; the same statement as ours."""
    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        order_id, user_id = UUID(key), UUID(user)

        async def operation() -> object:
            async with pool.acquire() as connection:
                return await connection.fetchrow(ONE, order_id, user_id)

        yield operation


@asynccontextmanager
async def list_50(url: str, user: str) -> Operations:
    """Acquire, fetch; as many rows as our page asks for (one more than it shows)."""
    async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
        user_id = UUID(user)

        async def operation() -> object:
            async with pool.acquire() as connection:
                return await connection.fetch(PAGE, user_id)

        yield operation
