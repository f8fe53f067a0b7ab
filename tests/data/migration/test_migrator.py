from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from fortress.data.migration import Branch, MigrationFailed, Migrations, Patience, Phase
from fortress.errors import CannotStart

Make = Callable[[], Migrations]
Write = Callable[..., Path]

TABLE = "CREATE TABLE orders (id UUID PRIMARY KEY, total BIGINT)"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def migrations(owner_url: str, orders: Branch, hasty: Patience, said: list[str]) -> Make:
    """Made late: the chain is read when the object is made."""
    return lambda: Migrations(owner_url, [orders], say=said.append, patience=hasty)


async def tables(connection: asyncpg.Connection) -> set[str]:
    return {row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


async def test_up_applies_what_is_pending_once_and_says_so(
    migrations: Make, write: Write, owner: asyncpg.Connection, said: list[str]
) -> None:
    write("orders_0001_pre_create", TABLE, "DROP TABLE orders")
    write("orders_0002_pre_add_a_colour_with_a_very_long_name", "ALTER TABLE orders ADD COLUMN colour TEXT")
    assert await migrations().up() == ["orders_0001_pre_create", "orders_0002_pre_add_a_colour_with_a_very_long_name"]
    assert [line.partition(" … ")[0] for line in said] == ["orders_0001_pre_create", "orders_0002_pre_add_a_colour_with_a_very_long_name"]
    assert said[0].endswith(" ms")
    assert await migrations().up() == []
    assert "orders" in await tables(owner)


async def test_up_to_a_revision_stops_there(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_pre_more")
    assert await migrations().up("orders_0001_pre_create") == ["orders_0001_pre_create"]
    with pytest.raises(CannotStart, match="no migration orders_0009_pre_x"):
        await migrations().up("orders_0009_pre_x")


async def test_down_takes_back_the_last_ones(migrations: Make, write: Write, owner: asyncpg.Connection, said: list[str]) -> None:
    write("orders_0001_pre_create", TABLE, "DROP TABLE orders")
    write("orders_0002_pre_lines", "CREATE TABLE lines (id UUID)", "DROP TABLE lines")
    await migrations().up()
    assert await migrations().down("orders") == ["orders_0002_pre_lines"]
    assert "lines" not in await tables(owner)
    assert await migrations().down("orders", 1) == ["orders_0001_pre_create"]
    assert "orders" not in await tables(owner)
    assert said[-1].startswith("orders_0001_pre_create down … ")


@pytest.mark.parametrize(("branch", "steps"), [("orders", 2), ("orders", 0), ("payments", 1)])
async def test_down_refuses_what_is_not_there(migrations: Make, write: Write, branch: str, steps: int) -> None:
    write("orders_0001_pre_create")
    await migrations().up()
    with pytest.raises(CannotStart):
        await migrations().down(branch, steps)


async def test_status_tells_where_a_branch_is(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_post_tidy")
    (before,) = await migrations().status()
    assert (before.current, before.applied_at) == (None, None)
    await migrations().up(phase=Phase.PRE)
    (status,) = await migrations().status()
    assert status.current == "orders_0001_pre_create"
    assert status.head == "orders_0002_post_tidy"
    assert status.pending == ("orders_0002_post_tidy",)
    assert status.applied_at is not None


async def test_pre_stops_before_post_and_post_finishes(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_pre_add")
    write("orders_0003_post_drop")
    assert await migrations().up(phase=Phase.PRE) == ["orders_0001_pre_create", "orders_0002_pre_add"]
    assert await migrations().up(phase=Phase.POST) == ["orders_0003_post_drop"]


async def test_post_is_refused_while_pre_is_pending(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_post_drop")
    with pytest.raises(CannotStart, match="orders_0001_pre_create is not applied yet"):
        await migrations().up(phase=Phase.POST)


async def test_pre_does_not_step_over_an_unfinished_release(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create")
    await migrations().up()
    write("orders_0002_post_drop")
    write("orders_0003_pre_add")
    with pytest.raises(CannotStart, match="orders_0003_pre_add comes after orders_0002_post_drop"):
        await migrations().up(phase=Phase.PRE)
    assert await migrations().up() == ["orders_0002_post_drop", "orders_0003_pre_add"]


async def test_pre_on_a_new_installation_runs_up_to_the_last_pre(migrations: Make, write: Write) -> None:
    for name in ("orders_0001_pre_create", "orders_0002_post_drop", "orders_0003_pre_add", "orders_0004_post_tidy"):
        write(name)
    assert await migrations().up(phase=Phase.PRE) == ["orders_0001_pre_create", "orders_0002_post_drop", "orders_0003_pre_add"]


async def test_a_failed_migration_is_rolled_back_and_named_and_those_before_stay(
    migrations: Make, write: Write, owner: asyncpg.Connection
) -> None:
    write("orders_0001_pre_create", TABLE)
    write("orders_0002_pre_wrong", code='op.execute("CREATE TABLE lines (id UUID)"); op.execute("ALTER TABLE nowhere ADD COLUMN x TEXT")')
    with pytest.raises(MigrationFailed, match='orders_0002_pre_wrong failed: relation "nowhere" does not exist'):
        await migrations().up()
    assert await tables(owner) >= {"orders"}
    assert "lines" not in await tables(owner)
    (status,) = await migrations().status()
    assert status.pending == ("orders_0002_pre_wrong",)


async def test_migrators_take_turns(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create", TABLE)
    write("orders_0002_pre_more", "CREATE TABLE lines (id UUID)")
    applied = await asyncio.gather(*(migrations().up() for _ in range(4)))
    assert sorted(len(names) for names in applied) == [0, 0, 0, 2]


async def test_a_migrator_does_not_wait_for_another_for_ever(
    owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection
) -> None:
    write("orders_0001_pre_create")
    await owner.execute("SELECT pg_advisory_lock($1)", 0x666F727472657373)
    impatient = Migrations(owner_url, [orders], patience=Patience(turn=0.1))
    with pytest.raises(CannotStart, match="another migration has been running"):
        await impatient.up()


async def test_nothing_stays_connected(migrations: Make, write: Write, owner_url: str, owner: asyncpg.Connection) -> None:
    write("orders_0001_pre_create", TABLE)
    await migrations().up()
    assert await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") == 0


async def test_a_lock_is_given_up_and_tried_again_and_nobody_waits_long(
    owner_url: str, orders: Branch, write: Write, owner: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    """FAULTS: each migration with a long transaction open and traffic."""
    write("orders_0001_pre_create", TABLE)
    await Migrations(owner_url, [orders]).up()
    write("orders_0002_pre_colour", "ALTER TABLE orders ADD COLUMN colour TEXT")
    await owner.execute("BEGIN; SELECT * FROM orders")
    refused = asyncio.Event()
    stalls: list[float] = []

    def hear(line: str) -> None:
        if "waits for a lock" in line:
            refused.set()

    async def traffic() -> None:
        while not done.done():
            began = time.monotonic()
            await other.execute("INSERT INTO orders (id, total) VALUES (gen_random_uuid(), 1)")
            stalls.append(time.monotonic() - began)
            await asyncio.sleep(0)

    done = asyncio.ensure_future(Migrations(owner_url, [orders], say=hear).up())
    writers = asyncio.ensure_future(traffic())
    await asyncio.wait_for(refused.wait(), 10)
    assert not done.done()
    await owner.execute("COMMIT")
    assert await asyncio.wait_for(done, 20) == ["orders_0002_pre_colour"]
    await writers
    assert max(stalls) < 1.0


async def test_a_lock_that_never_comes_ends_with_one_clear_line(migrations: Make, write: Write, owner: asyncpg.Connection) -> None:
    write("orders_0001_pre_create", TABLE)
    await migrations().up()
    write("orders_0002_pre_colour", "ALTER TABLE orders ADD COLUMN colour TEXT")
    await owner.execute("BEGIN; SELECT * FROM orders")
    with pytest.raises(MigrationFailed, match="orders_0002_pre_colour got no lock in 4 tries"):
        await migrations().up()
    await owner.execute("COMMIT")
    assert await migrations().up() == ["orders_0002_pre_colour"]


async def test_a_statement_that_takes_too_long_is_stopped(owner_url: str, orders: Branch, write: Write) -> None:
    write("orders_0001_pre_slow", "SELECT pg_sleep(30)")
    with pytest.raises(MigrationFailed, match="statement timeout"):
        await Migrations(owner_url, [orders], patience=Patience(statement_timeout=0.2)).up()


@pytest.mark.parametrize("version", ["orders_0009_pre_future", "deadbeef"])
async def test_a_database_of_a_newer_release_is_refused(migrations: Make, write: Write, owner: asyncpg.Connection, version: str) -> None:
    write("orders_0001_pre_create")
    await migrations().up()
    write("orders_0002_pre_more")
    await owner.execute("INSERT INTO alembic_version VALUES ($1)", version)
    if version == "deadbeef":
        with pytest.raises(CannotStart, match="of a newer release: it has deadbeef"):
            await migrations().up()
    with pytest.raises(CannotStart, match=f"of a newer release: it has {version}"):
        await migrations().down("orders")


async def test_an_older_release_has_nothing_to_do_in_a_newer_database(
    migrations: Make, write: Write, owner: asyncpg.Connection, said: list[str]
) -> None:
    write("orders_0001_pre_create")
    await migrations().up()
    await owner.execute("UPDATE alembic_version SET version_num = 'orders_0002_pre_future'")
    assert await migrations().up() == []
    assert said[-1] == "nothing to do: orders_0002_pre_future of a newer release is there already"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('revision = "orders_0001_pre_create"', 'revision = "b1946ac92492"', 'should say revision = "orders_0001_pre_create"'),
        ("branch_labels = ('orders',)", "branch_labels = None", "should say branch_labels"),
    ],
)
async def test_a_file_that_contradicts_its_name_is_refused(migrations: Make, write: Write, old: str, new: str, wanted: str) -> None:
    path = write("orders_0001_pre_create")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CannotStart) as refused:
        await migrations().up()
    assert wanted in str(refused.value)


async def test_a_link_that_skips_a_serial_is_refused(migrations: Make, write: Write) -> None:
    write("orders_0001_pre_create")
    write("orders_0002_pre_more")
    path = write("orders_0003_pre_last")
    path.write_text(path.read_text().replace("orders_0002_pre_more", "orders_0001_pre_create"))
    with pytest.raises(CannotStart, match='orders_0003_pre_last should say down_revision = "orders_0002_pre_more"'):
        await migrations().up()


async def test_an_unreachable_database_is_one_clear_line(orders: Branch) -> None:
    with pytest.raises(CannotStart, match="can't be reached"):
        await Migrations("postgresql://postgres@127.0.0.1:1/nowhere", [orders]).up()
