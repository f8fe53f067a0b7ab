from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from fortress.limits.postgres import create_sql

POSTGRES = os.environ.get("FORTRESS_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("FORTRESS_TEST_REDIS", "redis://127.0.0.1:6379/0")


def _skip_unless_open(url: str, default_port: int) -> None:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default_port), 1).close()
    except OSError as error:
        pytest.skip(f"nothing answers at {parts.hostname}:{parts.port or default_port}: {error}")


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def limits_database() -> Iterator[str]:
    """The URL of a database with an empty `limit_buckets`."""
    _skip_unless_open(POSTGRES, 5432)
    name = f"limits_test_{os.getpid()}"
    asyncio.run(_execute(POSTGRES, f"CREATE DATABASE {name}"))
    url = urlunsplit(urlsplit(POSTGRES)._replace(path=f"/{name}"))
    try:
        asyncio.run(_execute(url, create_sql()))
        yield url
    finally:
        asyncio.run(_execute(POSTGRES, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def pool(limits_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(limits_database, min_size=2, max_size=8) as opened:
        yield opened


@pytest.fixture(scope="session")
def redis_url() -> str:
    _skip_unless_open(REDIS, 6379)
    return REDIS
