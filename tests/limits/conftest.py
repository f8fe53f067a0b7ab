"""The stores that the suites run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from fortress.limits.postgres import create_sql
from fortress.testing.databases import Databases


async def _create(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(create_sql())
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def limits_database(databases: Databases) -> Iterator[str]:
    """The URL of a database with an empty `limit_buckets`."""
    with databases.kept(_create) as url:
        yield url


@pytest.fixture
async def pool(limits_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(limits_database, min_size=2, max_size=8) as opened:
        yield opened
