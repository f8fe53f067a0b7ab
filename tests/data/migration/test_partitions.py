from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import sqlalchemy as sa

from fortress.clock import FixedClock
from fortress.data import AuditEntry, EventEntry
from fortress.data.partitions import Partitioned, Partitions, partitioned

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
VISITS = Partitioned("visits", "at")
INSERT = "INSERT INTO visits (at, note) VALUES ($1, $2)"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    """With a table as migrations leave it."""
    connection = await asyncpg.connect(owner_url)
    await connection.execute(
        """
        CREATE TABLE visits (
            at TIMESTAMPTZ NOT NULL, id UUID NOT NULL DEFAULT gen_random_uuid(), seq BIGINT GENERATED ALWAYS AS IDENTITY,
            note TEXT CHECK (note <> ''), loud TEXT GENERATED ALWAYS AS (upper(note)) STORED, PRIMARY KEY (at, id)
        ) PARTITION BY RANGE (at);
        CREATE INDEX idx_visits_note ON visits (note);
        CREATE TABLE visits_default PARTITION OF visits DEFAULT;
        """
    )
    yield connection
    await connection.close()


async def partitions_of(connection: asyncpg.Connection) -> dict[str, str]:
    query = (
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
        "WHERE inhparent = 'visits'::regclass"
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL timezone = 'UTC'")
        return {row[0]: row[1] for row in await connection.fetch(query)}


def test_tables_that_declare_it_are_found() -> None:
    plain = sa.Table("plain", sa.MetaData(), sa.Column("id", sa.Uuid))
    kept = sa.Table("kept", sa.MetaData(), sa.Column("at", sa.DateTime), postgresql_partition_by="RANGE (at)", info={"keep_months": 3})
    found = partitioned([AuditEntry.table, plain, EventEntry.table, kept])
    assert found == (Partitioned("audit_log", "at"), Partitioned("events", "at"), Partitioned("kept", "at", 3))


async def test_this_month_and_those_ahead_are_made_once(owner: asyncpg.Connection, clock: FixedClock) -> None:
    partitions = Partitions([VISITS], clock, ahead=2)
    assert await partitions.ensure(owner) == ["visits_2026_11", "visits_2026_12", "visits_2027_01"]
    assert await partitions.ensure(owner) == []
    bounds = await partitions_of(owner)
    assert bounds["visits_2026_12"] == "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')"
    clock.advance(timedelta(days=31))
    assert await partitions.ensure(owner) == ["visits_2027_02"]


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
async def test_months_are_utcs_whatever_the_sessions_zone(owner: asyncpg.Connection, clock: FixedClock, zone: str) -> None:
    await owner.execute(f"SET timezone = '{zone}'")
    partitions = Partitions([VISITS], clock, ahead=0)
    assert await partitions.ensure(owner) == ["visits_2026_11"]
    assert await partitions.ensure(owner) == []
    await owner.execute(INSERT, datetime(2026, 11, 1, tzinfo=UTC), "first")
    await owner.execute(INSERT, datetime(2026, 11, 30, 23, 59, 59, 999999, tzinfo=UTC), "last")
    assert await owner.fetchval("SELECT count(*) FROM visits_2026_11") == 2


async def test_a_partition_is_like_its_parent(owner: asyncpg.Connection, clock: FixedClock) -> None:
    await Partitions([VISITS], clock, ahead=0).ensure(owner)
    row = await owner.fetchrow(INSERT + " RETURNING seq, loud, tableoid::regclass::text AS home", NOW, "hello")
    assert row is not None
    assert (row["seq"], row["loud"], row["home"]) == (1, "HELLO", "visits_2026_11")
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute(INSERT, NOW, "")
    indexes = await owner.fetchval("SELECT count(*) FROM pg_index WHERE indrelid = 'visits_2026_11'::regclass AND indisvalid")
    assert indexes == 2


async def test_a_missing_default_is_made(owner: asyncpg.Connection, clock: FixedClock) -> None:
    await owner.execute("DROP TABLE visits_default")
    assert (await Partitions([VISITS], clock, ahead=0).ensure(owner))[0] == "visits_default"


async def test_a_table_that_is_not_there_yet_is_left_alone(owner: asyncpg.Connection, clock: FixedClock) -> None:
    partitions = Partitions([Partitioned("nowhere", "at", 1)], clock)
    assert await partitions.ensure(owner) == []
    assert await partitions.retire(owner) == []
    assert await partitions.default_rows(owner) == {"nowhere": 0}


async def test_workers_make_each_partition_once(owner_url: str, owner: asyncpg.Connection, clock: FixedClock) -> None:
    others = [await asyncpg.connect(owner_url) for _ in range(4)]
    try:
        made = await asyncio.gather(*(Partitions([VISITS], clock, ahead=3).ensure(other) for other in others))
    finally:
        for other in others:
            await other.close()
    assert sorted(name for names in made for name in names) == ["visits_2026_11", "visits_2026_12", "visits_2027_01", "visits_2027_02"]


async def test_without_a_partition_ahead_inserts_succeed_are_counted_and_put_right(owner: asyncpg.Connection, clock: FixedClock) -> None:
    """FAULTS: no partition ahead (clock moved)."""
    partitions = Partitions([VISITS], clock, ahead=1)
    await partitions.ensure(owner)
    clock.advance(timedelta(days=100))
    await owner.executemany(INSERT, [(clock.now() + timedelta(seconds=n), f"row {n}") for n in range(50)])
    assert await partitions.default_rows(owner) == {"visits": 50}
    assert "visits_2027_03" in await partitions.ensure(owner)
    assert await partitions.default_rows(owner) == {"visits": 0}
    assert await owner.fetchval("SELECT count(*) FROM visits_2027_03") == 50
    assert await owner.fetchval("SELECT count(DISTINCT seq) FROM visits") == 50


async def test_rows_of_another_time_get_a_month_of_their_own(owner: asyncpg.Connection, clock: FixedClock) -> None:
    for at in (datetime(2019, 2, 3, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)):
        await owner.execute(INSERT, at, "astray")
    await owner.execute("INSERT INTO visits (at) VALUES ('infinity')")
    partitions = Partitions([VISITS], clock, ahead=0)
    assert await partitions.ensure(owner) == ["visits_2019_02", "visits_2026_11", "visits_9999_12"]
    assert await partitions.default_rows(owner) == {"visits": 1}


async def test_many_rows_are_moved_piece_by_piece(owner: asyncpg.Connection, clock: FixedClock) -> None:
    start = datetime(2026, 11, 3, tzinfo=UTC)
    await owner.executemany(INSERT, [(start + timedelta(hours=n // 2), f"row {n}") for n in range(100)])
    partitions = Partitions([VISITS], clock, ahead=0, piece_rows=30)
    made = await partitions.ensure(owner)
    assert made[0] == "visits_2026_11"
    assert made[1] == "visits_2026_11_03_150000_000000"
    assert len(made) == 4
    assert await partitions.default_rows(owner) == {"visits": 0}
    assert await owner.fetchval("SELECT count(*) FROM visits") == 100
    assert await partitions.ensure(owner) == []


async def test_rows_of_one_moment_are_moved_together(owner: asyncpg.Connection, clock: FixedClock) -> None:
    await owner.executemany(INSERT, [(datetime(2026, 11, 1, tzinfo=UTC), f"row {n}") for n in range(20)])
    await owner.executemany(INSERT, [(datetime(2026, 11, 2, tzinfo=UTC), f"row {n}") for n in range(20)])
    await Partitions([VISITS], clock, ahead=0, piece_rows=5).ensure(owner)
    assert await owner.fetchval("SELECT count(*) FROM visits_2026_11") == 20
    assert await owner.fetchval("SELECT count(*) FROM visits_default") == 0


async def test_writers_go_on_while_rows_are_moved(owner_url: str, owner: asyncpg.Connection, clock: FixedClock) -> None:
    """No insert fails, none waits a second, none is lost."""
    writer = await asyncpg.connect(owner_url)
    written, stalls, ready, stop = 0, [0.0], asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def write() -> None:
        nonlocal written
        while not stop.is_set():
            began = loop.time()
            await writer.execute(INSERT, NOW + timedelta(microseconds=written), "busy")
            stalls.append(loop.time() - began)
            written += 1
            if written > 200:
                ready.set()

    writing = asyncio.ensure_future(write())
    await ready.wait()
    try:
        await Partitions([VISITS], clock, piece_rows=100).ensure(owner)
    finally:
        stop.set()
        await writing
        await writer.close()
    assert await owner.fetchval("SELECT count(*) FROM visits") == written
    assert await owner.fetchval("SELECT count(*) FROM visits_default") == 0
    assert max(stalls) < 1.0


async def test_a_long_transaction_is_waited_for_in_short_tries(owner_url: str, owner: asyncpg.Connection, clock: FixedClock) -> None:
    holder = await asyncpg.connect(owner_url)
    await holder.execute("BEGIN; INSERT INTO visits (at) VALUES ('2026-11-05')")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await Partitions([VISITS], clock, lock_timeout=0.05, tries=2).ensure(owner)
    ensuring = asyncio.ensure_future(Partitions([VISITS], clock, ahead=0, lock_timeout=0.05).ensure(owner))
    await asyncio.sleep(0)
    await holder.execute("COMMIT")
    assert await asyncio.wait_for(ensuring, 20) == ["visits_2026_11"]
    await holder.close()


async def test_what_is_older_than_kept_is_dropped(owner: asyncpg.Connection, clock: FixedClock) -> None:
    for month in (8, 9, 10, 11):
        await owner.execute(INSERT, datetime(2026, month, 1, tzinfo=UTC), "kept?")
    await Partitions([VISITS], clock, ahead=0).ensure(owner)
    kept = Partitions([Partitioned("visits", "at", keep_months=2)], clock)
    assert await kept.retire(owner) == ["visits_2026_08"]
    assert await kept.retire(owner) == []
    assert await owner.fetchval("SELECT min(at) FROM visits") == datetime(2026, 9, 1, tzinfo=UTC)
    assert await Partitions([VISITS], clock).retire(owner) == []
