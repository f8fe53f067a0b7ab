from __future__ import annotations

import builtins
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from fortress.errors import CannotStart
from fortress.limits import gcra
from fortress.limits.gcra import Bucket, Rate
from fortress.limits.redis import RedisStore, open_redis
from fortress.testing.contracts.limit_store import LimitStoreContract, new_key

RATES = st.builds(Rate, emission=st.integers(1, 3000), quota=st.integers(1, 50), held=st.integers(0, 10), life=st.integers(0, 100_000))
DEMANDS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=2, max_size=8)


@pytest.fixture
def prefix() -> str:
    return f"limits-test:{secrets.token_hex(4)}:"


@pytest.fixture
async def client(redis_url: str, prefix: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as opened:
        yield opened
        async for key in opened.scan_iter(f"{prefix}*"):
            await opened.delete(key)


class TestRedisStore(LimitStoreContract):
    @pytest.fixture
    async def store(self, redis_url: str, prefix: str, client: Redis) -> AsyncIterator[RedisStore]:
        opened = open_redis(redis_url, 1.0, prefix)
        yield opened
        await opened.close()

    @given(RATES, DEMANDS)
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_the_script_decides_as_the_arithmetic_does(
        self, store: RedisStore, client: Redis, prefix: str, rate: Rate, demands: list[tuple[int, int]]
    ) -> None:
        key, before = new_key(), None
        for wanted, returned in demands:
            answer = await store.take(key, rate, wanted, returned=returned)
            value = await client.get(prefix.encode() + key)
            if value is None:
                # It was full again and no lease could be alive: the key has ended by itself.
                before = None
                continue
            assert isinstance(value, bytes)
            tat, taken = value.split(b":")
            after = Bucket(int(tat), int(taken))
            if answer.granted:
                step = gcra.take(rate, before, after.taken, wanted, returned=returned)
                assert (step.bucket, step.granted) == (after, answer.granted)
                assert answer.reset_after == step.used / 1_000_000
            else:
                assert after == before
            before = after

    async def test_a_key_ends_when_it_is_as_good_as_none(self, store: RedisStore, client: Redis, prefix: str) -> None:
        short, leased = new_key(), new_key()
        await store.take(short, gcra.rate_of(10, 1), 5)
        await store.take(leased, Rate(100_000, 10, held=1, life=5_000_000), 5)
        assert 400 < await client.pttl(prefix.encode() + short) <= 501
        assert 4900 < await client.pttl(prefix.encode() + leased) <= 5001

    async def test_a_server_that_forgot_the_script_is_given_it_again(self, store: RedisStore, client: Redis) -> None:
        key = new_key()
        await store.take(key, gcra.rate_of(10, 3600), 1)
        await client.script_flush()
        assert (await store.take(key, gcra.rate_of(10, 3600), 1)).remaining == 8
        assert (await store.take(key, gcra.rate_of(10, 3600), 1)).remaining == 7


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_redis(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("redis"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(CannotStart) as caught:
        open_redis("redis://127.0.0.1", 0.05)
    assert "fortress[redis]" in caught.value.hint


def test_a_wrong_url_stops_the_start_and_is_not_shown() -> None:
    with pytest.raises(CannotStart) as caught:
        open_redis("http://:hunter2@127.0.0.1", 0.05)
    assert "hunter2" not in caught.value.problem + caught.value.hint
