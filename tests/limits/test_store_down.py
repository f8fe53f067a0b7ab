"""The real stores behind a proxy that falls silent, dawdles or hangs up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.proxy import Proxy

from fortress.clock import SystemClock
from fortress.limits.gcra import rate_of
from fortress.limits.limiter import Limiter
from fortress.limits.policy import Limit, per_minute, strict
from fortress.limits.postgres import PostgresStore
from fortress.limits.redis import open_redis
from fortress.limits.store import LimitStore
from fortress.testing.servers import through

TIMEOUT = 0.05
ROOMY = per_minute(100_000)
SLOW = rate_of(30, 3600)
CHUNK = 65_536


class Counted:
    def __init__(self) -> None:
        self.round_trips = self.errors = self.fallbacks = 0

    def on_round_trip(self, _seconds: float, /) -> None:
        self.round_trips += 1

    def on_store_error(self, _error: Exception, /) -> None:
        self.errors += 1

    def on_fallback(self, _limit: Limit, /) -> None:
        self.fallbacks += 1


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[Proxy]:
    opened = Proxy(store_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def store(store_url: str, proxy: Proxy) -> AsyncIterator[LimitStore]:
    url = through(store_url, proxy.port)
    if url.startswith("redis"):
        over_redis = open_redis(url, TIMEOUT, f"limits-test:{secrets.token_hex(4)}:")
        yield over_redis
        await over_redis.close()
    else:
        pool = await asyncpg.create_pool(url, min_size=2, max_size=4, ssl=False)
        yield PostgresStore(pool)
        pool.terminate()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def limiter(store: LimitStore, counted: Counted) -> AsyncIterator[Limiter]:
    opened = Limiter(store, SystemClock(), TIMEOUT, 2, pepper=secrets.token_bytes(8), observer=counted)
    yield opened
    await opened.close()


async def _delays(limiter: Limiter, requests: int) -> list[float]:
    """How long each of so many requests took, shortest first."""
    loop, delays = asyncio.get_running_loop(), []
    for number in range(requests):
        began = loop.time()
        assert (await limiter.charge(ROOMY, str(number))).allowed
        delays.append(loop.time() - began)
    return sorted(delays)


async def _works_again(limiter: Limiter, counted: Counted) -> None:
    before = counted.round_trips
    async with asyncio.timeout(20):
        while counted.round_trips == before:
            assert (await limiter.charge(ROOMY, secrets.token_hex(4))).allowed
            await asyncio.sleep(0.02)


async def _fail(proxy: Proxy, how: str) -> None:
    if how == "stopped":
        await proxy.close()
    elif how == "frozen":
        proxy.freeze()
    else:
        proxy.delay = 2.0


async def _mend(proxy: Proxy, how: str) -> None:
    proxy.delay = 0.0
    proxy.thaw()
    if how == "stopped":
        await proxy.open()


class Suite:
    @pytest.mark.parametrize("how", ["stopped", "frozen", "slow"])
    async def test_a_store_that_is_away_costs_a_timeout_now_and_then_and_comes_back_by_itself(
        self, how: str, proxy: Proxy, limiter: Limiter, counted: Counted
    ) -> None:
        await _works_again(limiter, counted)
        await _fail(proxy, how)
        delays = await _delays(limiter, 400)
        assert counted.errors >= 1
        assert counted.fallbacks >= 300
        assert delays[int(len(delays) * 0.95)] < TIMEOUT
        await _mend(proxy, how)
        await _works_again(limiter, counted)

    @pytest.mark.parametrize("how", ["stopped", "frozen", "slow"])
    async def test_a_store_that_is_away_leaves_nobody_unlimited(self, how: str, proxy: Proxy, limiter: Limiter) -> None:
        await _fail(proxy, how)
        ordinary = [await limiter.charge(per_minute(40), "k") for _ in range(60)]
        sensitive = [await limiter.charge(strict(per_minute(40)), "k") for _ in range(60)]
        assert sum(verdict.allowed for verdict in ordinary) in (20, 21)
        assert sum(verdict.allowed for verdict in sensitive) == 5

    async def test_an_answer_that_came_too_late_is_never_taken_for_anothers(self, proxy: Proxy, store: LimitStore) -> None:
        await store.take(secrets.token_bytes(16), SLOW, 1)
        proxy.freeze()
        cancelled = [asyncio.create_task(store.take(secrets.token_bytes(16), SLOW, 7 + number)) for number in range(3)]
        await asyncio.sleep(TIMEOUT / 2)
        for task in cancelled:
            task.cancel()
        proxy.thaw()
        await asyncio.gather(*cancelled, return_exceptions=True)
        for wanted in range(1, 7):
            answer = await store.take(secrets.token_bytes(16), SLOW, wanted)
            assert (answer.granted, answer.remaining) == (wanted, SLOW.quota - wanted)


class TestOverPostgres(Suite):
    @pytest.fixture
    def store_url(self, limits_database: str) -> str:
        return limits_database


class TestOverRedis(Suite):
    @pytest.fixture
    def store_url(self, redis_url: str) -> str:
        return redis_url
