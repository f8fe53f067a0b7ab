from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fortress.data.migration import Branch, Migrations, Phase, Schema, SchemaState
from fortress.errors import CannotStart

Write = Callable[..., Path]


class Counting:
    """A connection that counts what it is asked."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.asked: list[str] = []

    async def fetch(self, query: str, /) -> Sequence[Any]:
        self.asked.append(query)
        return await self._connection.fetch(query)


@pytest.fixture
async def at_head(owner_url: str, orders: Branch, write: Write) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_pre_more")
    write("orders_0003_post_tidy")
    await Migrations(owner_url, [orders]).up()


async def newer_release(owner: asyncpg.Connection, *names: str) -> None:
    """What the next release's migrator leaves behind."""
    for name in names:
        await owner.execute("UPDATE alembic_version SET version_num = $1", name)
        await owner.execute("INSERT INTO migration_log (revision) VALUES ($1)", name)


async def test_an_empty_database_is_behind(orders: Branch, write: Write, owner: asyncpg.Connection) -> None:
    write("orders_0001_pre_create")
    assert await Schema([orders]).state(owner) is SchemaState.BEHIND


@pytest.mark.usefixtures("at_head")
async def test_a_database_at_head_is_found_so_with_one_statement(orders: Branch, owner: asyncpg.Connection) -> None:
    counting = Counting(owner)
    assert await Schema([orders]).state(counting) is SchemaState.AT_HEAD
    assert len(counting.asked) == 1
    await Schema([orders]).require(owner)


async def test_post_steps_may_be_pending_while_the_release_serves(
    owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection
) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_post_tidy")
    await Migrations(owner_url, [orders]).up(phase=Phase.PRE)
    assert await Schema([orders]).state(owner) is SchemaState.AT_HEAD


@pytest.mark.usefixtures("at_head")
async def test_a_missing_pre_step_is_named(orders: Branch, write: Write, owner: asyncpg.Connection) -> None:
    write("orders_0004_pre_colour")
    assert await Schema([orders]).state(owner) is SchemaState.BEHIND
    with pytest.raises(CannotStart, match="the database lacks orders_0004_pre_colour") as refused:
        await Schema([orders]).require(owner)
    assert refused.value.hint == "fortress migrate up"


@pytest.mark.usefixtures("at_head")
async def test_a_new_domain_without_its_tables_is_behind(orders: Branch, tmp_path: Path, owner: asyncpg.Connection) -> None:
    (tmp_path / "stock_0001_pre_create.py").touch()
    assert await Schema([orders, Branch("stock", tmp_path)]).state(owner) is SchemaState.BEHIND


@pytest.mark.usefixtures("at_head")
async def test_the_next_releases_pre_steps_leave_this_one_serving(orders: Branch, owner: asyncpg.Connection) -> None:
    await newer_release(owner, "orders_0004_pre_colour", "orders_0005_pre_size")
    assert await Schema([orders]).state(owner) is SchemaState.AT_HEAD


@pytest.mark.usefixtures("at_head")
@pytest.mark.parametrize(
    "names",
    [("orders_0004_post_drop",), ("orders_0004_pre_colour", "orders_0005_post_drop"), ("orders_0004_post_drop", "orders_0005_pre_x")],
)
async def test_the_next_releases_post_steps_are_ahead(orders: Branch, owner: asyncpg.Connection, names: tuple[str, ...]) -> None:
    await newer_release(owner, *names)
    assert await Schema([orders]).state(owner) is SchemaState.AHEAD
    with pytest.raises(CannotStart, match=f"the database is of a newer release: it has {names[-1]}, unknown here") as refused:
        await Schema([orders]).require(owner)
    assert refused.value.hint


@pytest.mark.usefixtures("at_head")
@pytest.mark.parametrize("version", ["orders_0004_pre_unlogged", "b1946ac92492"])
async def test_a_version_that_nobody_logged_is_ahead(orders: Branch, owner: asyncpg.Connection, version: str) -> None:
    await owner.execute("UPDATE alembic_version SET version_num = $1", version)
    assert await Schema([orders]).state(owner) is SchemaState.AHEAD


@pytest.mark.usefixtures("at_head")
async def test_a_database_without_our_log_is_ahead_when_it_holds_the_unknown(orders: Branch, owner: asyncpg.Connection) -> None:
    await owner.execute("DROP TABLE migration_log")
    await owner.execute("UPDATE alembic_version SET version_num = 'orders_0004_pre_colour'")
    assert await Schema([orders]).state(owner) is SchemaState.AHEAD
