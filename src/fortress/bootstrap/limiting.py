"""The store that limits are counted in, and the sweeping of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from fortress.background import end_if_cancelled
from fortress.clock import Clock
from fortress.data import Database
from fortress.errors import CannotStart
from fortress.limits.memory import MemoryStore
from fortress.limits.postgres import PostgresStore
from fortress.limits.redis import open_redis
from fortress.limits.store import LimitStore
from fortress.settings import Settings

SWEEP_SECONDS: Final = 60.0
MOST_BATCHES: Final = 100


@asynccontextmanager
async def limit_store(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[LimitStore]:
    """The store of the settings, for as long as the block lasts. Raises CannotStart."""
    kind = settings.limit_store
    if kind == "auto":
        kind = "redis" if settings.redis_url else "postgres"
    if kind != "redis":
        yield PostgresStore(database) if kind == "postgres" else MemoryStore(clock)
        return
    if settings.redis_url is None:
        raise CannotStart("FORTRESS_LIMIT_STORE=redis needs FORTRESS_REDIS_URL")
    redis = open_redis(settings.redis_url.get_secret_value(), settings.limit_store_timeout)
    try:
        yield redis
    finally:
        await redis.close()


async def keep_sweeping(store: LimitStore) -> None:
    """Forget idle limits, some batches at a time; a store that is away is swept next time."""
    while True:
        end_if_cancelled()
        await asyncio.sleep(SWEEP_SECONDS)
        with suppress(Exception):
            for _ in range(MOST_BATCHES):
                if not await store.sweep():
                    break
