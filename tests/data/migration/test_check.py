from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa

from fortress.data.migration import Branch, MigrationFailed
from fortress.data.migration.check import check_migrations, scratch_database
from fortress.data.migration.lint import lint, squawk_program
from fortress.data.migration.names import read_name
from fortress.errors import BrokenRule, CannotStart
from fortress.limits.postgres import create_sql

Write = Callable[..., Path]
CREATE = "CREATE TABLE orders (id UUID NOT NULL, total BIGINT NOT NULL, CONSTRAINT pk_orders PRIMARY KEY (id))"
DROP = "DROP TABLE orders"


def orders_table(*more: sa.Column[object] | sa.CheckConstraint) -> sa.Table:
    key = sa.PrimaryKeyConstraint("id", name="pk_orders")
    return sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Uuid), sa.Column("total", sa.BigInteger, nullable=False), key, *more)


def said(breaches: list[BrokenRule]) -> str:
    return "\n".join(f"{breach.rule} {breach.what}" for breach in breaches)


async def test_the_runtimes_own_migrations_hold_every_rule(owner_url: str, runtime: Branch) -> None:
    assert said(await check_migrations(owner_url, [runtime])) == ""


async def test_the_limiters_table_is_the_one_that_it_was_written_for(owner: asyncpg.Connection) -> None:
    from fortress.data.versions import fortress_0001_pre_create as migration

    await owner.execute(migration._LIMIT_BUCKETS)
    ours = await limiter_table(owner)
    await owner.execute("DROP TABLE limit_buckets")
    await owner.execute(create_sql())
    assert await limiter_table(owner) == ours


async def limiter_table(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    columns = (
        "SELECT attname, atttypid, attnotnull FROM pg_attribute WHERE attrelid = 'limit_buckets'::regclass AND attnum > 0 ORDER BY attnum"
    )
    options = "SELECT relpersistence, reloptions, NULL FROM pg_class WHERE relname = 'limit_buckets'"
    return [*await owner.fetch(columns), *await owner.fetch(options)]


async def test_models_and_migrations_that_agree_have_no_breach(owner_url: str, orders: Branch, write: Write) -> None:
    write("orders_0001_pre_create", CREATE, DROP)
    assert said(await check_migrations(owner_url, [Branch("orders", orders.directory, [orders_table()])])) == ""


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (lambda: sa.Column("note", sa.Text), "DATA004 only in the models, orders: column note text default none"),
        (lambda: sa.CheckConstraint("total > 0", name="ck_orders_total"), "DATA004 only in the models, orders: constraint ck_orders_total"),
    ],
)
async def test_a_model_without_its_migration_is_found(
    owner_url: str, orders: Branch, write: Write, more: Callable[[], sa.Column[object] | sa.CheckConstraint], wanted: str
) -> None:
    write("orders_0001_pre_create", CREATE, DROP)
    branch = Branch("orders", orders.directory, [orders_table(more())])
    assert wanted in said(await check_migrations(owner_url, [branch]))


async def test_a_migration_without_its_model_is_found(owner_url: str, orders: Branch, write: Write) -> None:
    write("orders_0001_pre_create", CREATE, DROP)
    assert "only in the migrations, orders: table" in said(await check_migrations(owner_url, [orders]))


@pytest.mark.parametrize(
    ("down", "wanted"),
    [
        ("SELECT 1", "its downgrade leaves orders: column id uuid"),
        ("DROP TABLE elsewhere", 'failed: table "elsewhere" does not exist'),
    ],
)
async def test_a_downgrade_that_does_not_undo_is_found(owner_url: str, orders: Branch, write: Write, down: str, wanted: str) -> None:
    write("orders_0001_pre_create", CREATE.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"), down)
    assert wanted in said(await check_migrations(owner_url, [Branch("orders", orders.directory, [orders_table()])]))


async def test_a_missing_downgrade_is_found(owner_url: str, orders: Branch, write: Write) -> None:
    path = write("orders_0001_pre_create", CREATE)
    path.write_text(path.read_text().partition("def downgrade")[0])
    assert "orders_0001_pre_create has no downgrade" in said(await check_migrations(owner_url, [orders]))


async def test_a_key_into_another_domain_is_found(owner_url: str, orders: Branch, write: Write, tmp_path: Path) -> None:
    write("orders_0001_pre_create", CREATE, DROP)
    metadata = sa.MetaData()
    sales = orders_table().to_metadata(metadata)
    bills = sa.Table("bills", metadata, sa.Column("order_id", sa.Uuid, sa.ForeignKey("orders.id")))
    branches = [Branch("orders", orders.directory, [sales]), Branch("billing", tmp_path / "none", [bills])]
    assert 'DOM002 table "bills" refers to "orders" of the domain orders' in said(await check_migrations(owner_url, branches))


async def test_a_migration_that_asks_the_database_is_found(owner_url: str, orders: Branch, write: Write) -> None:
    write("orders_0001_pre_ask", code='op.get_bind().exec_driver_sql("SELECT 1")')
    assert "orders_0001_pre_ask can't be written as SQL" in said(await check_migrations(owner_url, [orders]))


async def test_the_database_that_it_is_tried_in_is_gone_afterwards(owner_url: str, owner: asyncpg.Connection) -> None:
    there = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
    names: list[str] = []

    async def fail() -> None:
        async with scratch_database(owner_url) as url:
            names.append(urlsplit(url).path.removeprefix("/"))
            assert await owner.fetchval(there, names[0])
            raise MigrationFailed("as a migration would")

    with pytest.raises(MigrationFailed):
        await fail()
    assert not await owner.fetchval(there, names[0])


async def test_an_owner_who_may_not_make_databases_is_told(
    signed_in_as: Callable[[str], str], orders: Branch, owner: asyncpg.Connection
) -> None:
    role = await owner.fetchval("SELECT 'r_' || current_database()")
    await owner.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(CannotStart, match="may not make a database"):
            await check_migrations(signed_in_as(role), [orders])
    finally:
        await owner.execute(f"DROP ROLE {role}")


OURS = [
    ("pre", "CREATE INDEX i ON orders (total)", "builds an index on orders"),
    ("pre", "CREATE UNIQUE INDEX i ON public.orders (total)", "builds an index on public.orders"),
    ("post", "DROP INDEX i", "drops an index under an exclusive lock"),
    ("pre", "DROP TABLE orders", "drops or renames what the old code still uses"),
    ("pre", "ALTER TABLE orders DROP COLUMN total", "drops or renames"),
    ("pre", "ALTER TABLE orders RENAME COLUMN total TO sum", "drops or renames"),
    ("pre", "ALTER TABLE orders ADD COLUMN x TEXT NOT NULL", "adds a required column to orders"),
    ("pre", "ALTER TABLE orders ALTER COLUMN x SET NOT NULL", "makes a column of orders required"),
    ("post", "ALTER TABLE orders ALTER COLUMN total TYPE NUMERIC", "changes the type of a column of orders"),
    ("post", "ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0)", "checks all of orders under a lock"),
    ("pre", "SET lock_timeout = '10s'; ALTER TABLE orders ADD COLUMN x TEXT", "changes lock_timeout"),
    (
        "pre",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON orders (total); ALTER TABLE orders ADD COLUMN x TEXT",
        "does more than build indexes",
    ),
]


@pytest.mark.parametrize(("phase", "sql", "wanted"), OURS)
def test_what_a_live_database_cannot_take_is_found(phase: str, sql: str, wanted: str) -> None:
    revision = read_name(f"orders_0002_{phase}_change")
    assert revision is not None
    assert f"DATA005 orders_0002_{phase}_change {wanted}" in said(lint(revision, sql, "here"))


@pytest.mark.parametrize(
    ("phase", "sql"),
    [
        ("pre", f"{CREATE}; CREATE INDEX i ON orders (total); ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0)"),
        ("pre", "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON orders (total)"),
        ("pre", "ALTER TABLE orders ADD COLUMN x TEXT NOT NULL DEFAULT 'a'"),
        ("post", "ALTER TABLE orders DROP COLUMN total"),
        ("post", "DROP TABLE orders"),
        ("post", "ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0) NOT VALID"),
    ],
)
def test_what_a_live_database_can_take_passes(phase: str, sql: str) -> None:
    revision = read_name(f"orders_0002_{phase}_change")
    assert revision is not None
    assert said(lint(revision, sql, "here")) == ""


@pytest.mark.skipif(squawk_program() is None, reason="squawk-cli is not installed")
def test_squawk_is_asked_too() -> None:
    revision = read_name("orders_0001_pre_create")
    assert revision is not None
    assert "squawk prefer-timestamp-tz" in said(lint(revision, "CREATE TABLE orders (at TIMESTAMP)", "here"))
