from __future__ import annotations

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fortress.limits import gcra
from fortress.limits.gcra import Bucket, Rate
from fortress.limits.postgres import PostgresStore, create_sql, drop_sql
from fortress.limits.store import LimitStore
from fortress.testing.contracts.limit_store import LimitStoreContract, new_key

RATES = st.builds(Rate, emission=st.integers(1, 3000), quota=st.integers(1, 50), held=st.integers(0, 10), life=st.integers(0, 100_000))
DEMANDS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=2, max_size=8)


async def _bucket(pool: asyncpg.Pool, key: bytes) -> Bucket:
    row = await pool.fetchrow("SELECT tat, taken FROM limit_buckets WHERE key = $1", key)
    assert row is not None
    return Bucket(row["tat"], row["taken"])


class TestPostgresStore(LimitStoreContract):
    @pytest.fixture
    def store(self, pool: asyncpg.Pool) -> LimitStore:
        return PostgresStore(pool)

    @given(RATES, DEMANDS)
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_the_statement_decides_as_the_arithmetic_does(
        self, store: LimitStore, pool: asyncpg.Pool, rate: Rate, demands: list[tuple[int, int]]
    ) -> None:
        key, before = new_key(), None
        for wanted, returned in demands:
            answer = await store.take(key, rate, wanted, returned=returned)
            after = await _bucket(pool, key)
            if answer.granted:
                step = gcra.take(rate, before, after.taken, wanted, returned=returned)
                assert (step.bucket, step.granted) == (after, answer.granted)
                assert answer.reset_after == step.used / 1_000_000
            else:
                assert after == before
            before = after

    async def test_a_clock_that_went_back_costs_a_window_at_most(self, store: LimitStore, pool: asyncpg.Pool) -> None:
        key, rate = new_key(), gcra.rate_of(10, 1)
        await store.take(key, rate, 1)
        await pool.execute("UPDATE limit_buckets SET tat = tat + 3600000000, taken = taken + 3600000000 WHERE key = $1", key)
        assert (await store.take(key, rate, 1)).reset_after <= 1

    async def test_sweeping_forgets_what_was_idle_for_a_minute(self, store: LimitStore, pool: asyncpg.Pool) -> None:
        idle, recent = new_key(), new_key()
        for key in (idle, recent):
            await store.take(key, gcra.rate_of(10, 1), 1)
        await pool.execute("UPDATE limit_buckets SET tat = tat - 62000000, taken = taken - 62000000 WHERE key = $1", idle)
        assert await store.sweep() >= 1
        left = await pool.fetch("SELECT key FROM limit_buckets WHERE key = ANY($1)", [idle, recent])
        assert [row["key"] for row in left] == [recent]

    async def test_sweeping_does_not_wait_for_a_key_in_use(self, store: LimitStore, pool: asyncpg.Pool) -> None:
        key = new_key()
        await store.take(key, gcra.rate_of(10, 1), 1)
        await pool.execute("UPDATE limit_buckets SET tat = 1, taken = 1 WHERE key = $1", key)
        async with pool.acquire() as other, other.transaction():
            await other.execute("SELECT 1 FROM limit_buckets WHERE key = $1 FOR UPDATE", key)
            await store.sweep()
            assert await other.fetchval("SELECT count(*) FROM limit_buckets WHERE key = $1", key) == 1

    async def test_a_ping_fails_when_the_table_is_not_there(self, store: LimitStore, pool: asyncpg.Pool) -> None:
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(drop_sql())
            with pytest.raises(asyncpg.UndefinedTableError):
                await PostgresStore(connection).ping()
            await transaction.rollback()

    async def test_the_table_writes_no_wal_and_leaves_room_on_its_pages(self, pool: asyncpg.Pool) -> None:
        row = await pool.fetchrow("SELECT relpersistence, reloptions FROM pg_class WHERE relname = 'limit_buckets'")
        assert row is not None
        assert row["relpersistence"] == b"u"
        assert "fillfactor=50" in row["reloptions"]
        assert create_sql().count("PRIMARY KEY") == 1
