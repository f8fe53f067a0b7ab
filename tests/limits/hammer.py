"""One worker of the exactness test, in a process of its own: says it is ready, waits for a line, asks, prints what was admitted."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from fortress.clock import SystemClock
from fortress.limits.limiter import Limiter
from fortress.limits.policy import Limit, per_minute
from fortress.limits.postgres import PostgresStore
from fortress.limits.redis import open_redis
from fortress.limits.store import LimitStore

WORKERS = 4
AT_ONCE = 20
PATIENCE = 20.0


class Counted:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_round_trip(self, _seconds: float, /) -> None:
        self.counts["round_trips"] += 1

    def on_store_error(self, _error: Exception, /) -> None:
        self.counts["errors"] += 1

    def on_fallback(self, _limit: Limit, /) -> None:
        self.counts["fallbacks"] += 1


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[LimitStore]:
    if url.startswith("redis"):
        store = open_redis(url, PATIENCE, "limits-test:hammer:")
        try:
            yield store
        finally:
            await store.close()
    else:
        async with asyncpg.create_pool(url, min_size=4, max_size=4) as pool:
            yield PostgresStore(pool)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(url: str, run: str, quota: int, keys: int, calls: int) -> None:
    limit, counted, admitted = per_minute(quota), Counted(), Counter[str]()

    async def ask(turn: int) -> None:
        for number in range(calls):
            key = f"{run}-{(turn + number) % keys}"
            verdict = limiter.spend(limit, key) or await limiter.charge(limit, key)
            admitted[key] += verdict.allowed

    async with opened(url) as store:
        await store.ping()
        limiter = Limiter(store, SystemClock(), PATIENCE, WORKERS, observer=counted)
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        began = time.time()
        await asyncio.gather(*(ask(turn) for turn in range(AT_ONCE)))
        say(json.dumps({"admitted": admitted, "began": began, "ended": time.time(), **counted.counts}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *(int(figure) for figure in sys.argv[3:6])))
