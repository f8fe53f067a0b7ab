from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg

from fortress.data.migration import Branch, Migrations

Write = Callable[..., Path]
CREATE = "CREATE TABLE orders (id UUID PRIMARY KEY, user_id UUID, at TIMESTAMPTZ DEFAULT now())"
INDEX = 'create_index_concurrently("idx_orders_user", "orders", "(user_id)")'
VALID = "SELECT bool_and(indisvalid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname LIKE '%idx_orders_user'"


async def prepared(owner_url: str, orders: Branch, write: Write, create: str = CREATE) -> Migrations:
    write("orders_0001_pre_create", create)
    await Migrations(owner_url, [orders]).up()
    write("orders_0002_pre_index", code=INDEX)
    return Migrations(owner_url, [orders])


async def begun(other: asyncpg.Connection) -> None:
    """Return once the unfinished index is in the catalogue, from which no event comes."""
    for _ in range(1000):
        if await other.fetchval("SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'idx_orders_user')"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the index was never begun")


async def test_an_index_is_built_beside_writers_that_it_waits_for(
    owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    migrations = await prepared(owner_url, orders, write)
    await owner.execute("BEGIN; INSERT INTO orders (id) VALUES (gen_random_uuid())")
    building = asyncio.ensure_future(migrations.up())
    await begun(other)
    await other.execute("INSERT INTO orders (id) VALUES (gen_random_uuid())", timeout=1)
    assert not building.done()
    await owner.execute("COMMIT")
    assert await asyncio.wait_for(building, 20) == ["orders_0002_pre_index"]
    assert await owner.fetchval(VALID) is True


async def test_an_index_that_was_left_unfinished_is_built_anew(
    owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection
) -> None:
    migrations = await prepared(owner_url, orders, write)
    await owner.execute("CREATE INDEX idx_orders_user ON orders (user_id)")
    await owner.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_orders_user'::regclass")
    await migrations.up()
    assert await owner.fetchval(VALID) is True


async def test_an_index_of_a_partitioned_table_is_built_partition_by_partition(
    owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection
) -> None:
    create = "CREATE TABLE orders (id UUID, user_id UUID, at TIMESTAMPTZ) PARTITION BY RANGE (at)"
    migrations = await prepared(owner_url, orders, write, create)
    await owner.execute("CREATE TABLE orders_default PARTITION OF orders DEFAULT")
    await owner.execute("CREATE TABLE orders_2026_01 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
    await migrations.up()
    names = {row[0] for row in await owner.fetch("SELECT indexname FROM pg_indexes WHERE indexname LIKE '%idx_orders_user'")}
    assert names == {"idx_orders_user", "orders_default_idx_orders_user", "orders_2026_01_idx_orders_user"}
    assert await owner.fetchval(VALID) is True


async def test_a_migration_after_an_index_has_its_timeouts_again(owner_url: str, orders: Branch, write: Write) -> None:
    migrations = await prepared(owner_url, orders, write)
    assert migrations.patience.lock_timeout == 0.5
    write(
        "orders_0003_pre_timeout",
        code='assert op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar() == "500ms"',
    )
    await Migrations(owner_url, [orders]).up()


async def test_an_index_is_dropped_beside_readers(owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection) -> None:
    await (await prepared(owner_url, orders, write)).up()
    write("orders_0003_post_drop", code='drop_index_concurrently("idx_orders_user")')
    await Migrations(owner_url, [orders]).up()
    assert await owner.fetchval("SELECT to_regclass('idx_orders_user')") is None
