"""The pools: bounded, nothing leaks, nothing broken is kept, a dead server is only an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.proxy import Proxy

from fortress.clock import SystemClock
from fortress.data import Database, DatabaseFault, Entity, Key, Repository, change, insert, many, param, select
from fortress.data.connections import Connections, PoolObserver, Traffic
from fortress.errors import CannotStart, Unavailable
from fortress.security.principal import SYSTEM
from fortress.testing.servers import through

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

Admin = Any


class Mark(Entity, frozen=True):
    __tablename__ = "marks"
    id: Key
    name: str


class Marks(Repository[Mark]):
    all = many(select(Mark).order_by(Mark.c.name))
    put = change(insert(Mark).values(id=param("id"), name=param("name")).on_conflict_do_nothing())


marks = Marks()
SLOW = "SELECT pg_sleep(30)"
MINE = "FROM pg_stat_activity WHERE application_name = 'fortress' AND datname = current_database()"


async def until(condition: Any) -> None:
    """Until the server's own view is so: it has no event to wait for."""
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def running(admin: Admin, count: int) -> None:
    async def so() -> bool:
        return bool(await admin.fetchval(f"SELECT count(*) = $1 {MINE} AND state = 'active'", count))

    await until(so)


@asynccontextmanager
async def busy(database: Database, count: int, admin: Admin) -> AsyncIterator[list[asyncio.Task[Any]]]:
    tasks = [asyncio.create_task(database.readers.fetch(SLOW, [])) for _ in range(count)]
    await running(admin, count)
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_reader_cannot_write(database: Database, create: Create) -> None:
    """PostgreSQL itself refuses, whatever text reaches it."""
    await create(Mark)
    reader = database.reader(SYSTEM)
    for sql in ("INSERT INTO marks VALUES (gen_random_uuid(), 'x')", "DELETE FROM marks", "TRUNCATE marks", "CREATE TABLE more (x int)"):
        with pytest.raises(DatabaseFault, match="ReadOnlySQLTransaction"):
            await reader.rows(sql, [])
    with pytest.raises(AttributeError):
        await marks.put(reader, id=uuid4(), name="x")  # type: ignore[arg-type]
    assert await marks.all(reader) == []


async def test_connections_are_opened_when_needed_and_kept(database: Database) -> None:
    assert (database.readers.opened, database.readers.size) == (0, 4)
    for _ in range(5):
        await database.ping()
    assert (database.readers.opened, database.readers.idle, database.readers.in_use) == (1, 1, 0)
    await asyncio.gather(*(database.ping() for _ in range(20)))
    assert database.readers.opened <= 4
    assert database.readers.idle == database.readers.opened
    assert (database.readers.waiting, database.writers.opened) == (0, 0)


async def test_a_connection_is_set_up_as_it_opens(connect: Open, data_url: str) -> None:
    database = await connect(data_url, role="pg_monitor", statement_timeout=7, lock_timeout=2, idle_transaction_timeout=9)
    names = ("TimeZone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "jit", "application_name", "role")
    asked = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names) + ", current_setting('default_transaction_read_only')"
    with database.counting() as count:
        (read,) = await database.reader(SYSTEM).rows(asked, [])
        (written,) = await database.run(asked)
    assert tuple(read) == ("UTC", "7s", "2s", "9s", "off", "fortress", "pg_monitor", "on")
    assert tuple(written) == (*tuple(read)[:-1], "off")
    assert count.round_trips == 2


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        datetime(2026, 5, 1, 12, 0, 0, 100_000, tzinfo=UTC),
        datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=-3, minutes=30))),
    ],
)
async def test_readers_and_writers_see_the_same_times(database: Database, moment: datetime) -> None:
    asked = "SELECT $1::timestamptz, $2::timestamptz[]"
    (read,) = await database.reader(SYSTEM).rows(asked, [moment, [moment]])
    (written,) = await database.run(asked, moment, [moment])
    assert tuple(read) == tuple(written) == (moment, [moment])
    assert read[0].utcoffset() == timedelta(0)


@pytest.mark.parametrize("number", ["0", "-0.01", "12.50", "1E-30", "99999999999999999999999.999", "NaN"])
async def test_readers_and_writers_see_the_same_numbers(database: Database, number: str) -> None:
    asked = "SELECT $1::numeric, $2::numeric[]"
    (read,) = await database.reader(SYSTEM).rows(asked, [Decimal(number), [Decimal(number), None]])
    (written,) = await database.run(asked, Decimal(number), [Decimal(number), None])
    assert str(tuple(read)) == str(tuple(written))


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    zoneless = datetime(2026, 5, 1)  # noqa: DTZ001 - the point
    with pytest.raises(DatabaseFault):
        await database.reader(SYSTEM).rows("SELECT $1::timestamptz", [zoneless])
    assert database.readers.idle == 1


async def test_a_temporary_table_does_not_stand_in_for_a_real_one(database: Database, create: Create) -> None:
    await create(Mark)
    async with database.unit(SYSTEM) as unit:
        await unit.run("CREATE TEMPORARY TABLE marks (id uuid, name text) ON COMMIT DROP")
        await unit.run("INSERT INTO pg_temp.marks VALUES (gen_random_uuid(), 'false')")
        assert await marks.all(unit) == []


async def test_a_full_pool_refuses_after_a_bounded_wait(connect: Open, admin: Admin) -> None:
    database = await connect(database_readers=2, database_wait=0.2)
    async with busy(database, 2, admin):
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(database.ping() for _ in range(10)), return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 1
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert all(answer.headers["retry-after"] == "1" for answer in answers if isinstance(answer, Unavailable))
        assert (database.readers.in_use, database.readers.waiting) == (2, 0)
    await database.ping()
    assert database.readers.in_use <= 2


async def test_who_waits_first_is_served_first(connect: Open) -> None:
    database = await connect(database_readers=1)
    kept = await database.readers.acquire()
    order: list[int] = []

    async def ask(number: int) -> None:
        await database.ping()
        order.append(number)

    tasks = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert database.readers.waiting == 5
    database.readers.release(kept)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert database.readers.opened == 1


async def test_a_cancelled_statement_takes_its_connection_with_it(connect: Open, admin: Admin) -> None:
    database = await connect(database_readers=1)
    for _ in range(3):
        async with busy(database, 1, admin):
            pass
        await running(admin, 0)
        (row,) = await database.reader(SYSTEM).rows("SELECT 42", [])
        assert row[0] == 42
    assert database.readers.opened == 4
    assert await admin.fetchval(f"SELECT count(*) {MINE}") == 1


async def test_cancelling_while_waiting_leaks_nothing(connect: Open) -> None:
    database = await connect(database_readers=2)
    await asyncio.gather(*(database.ping() for _ in range(4)))
    for turn in range(50):
        tasks = [asyncio.create_task(database.ping()) for _ in range(8)]
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        for task in tasks[turn % 3 :: 2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(database.ping() for _ in range(8)))
    assert (database.readers.in_use, database.readers.waiting) == (0, 0)
    assert 1 <= database.readers.idle + database.readers.closing <= 2
    await database.close()
    assert (database.readers.idle, database.readers.closing, database.readers.in_use) == (0, 0, 0)


async def test_what_a_cancelled_waiter_was_given_goes_on(connect: Open) -> None:
    database = await connect(database_readers=1)
    kept = await database.readers.acquire()
    first, second = (asyncio.create_task(database.ping()) for _ in range(2))
    await asyncio.sleep(0)
    database.readers.release(kept)
    first.cancel()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (database.readers.in_use, database.readers.idle) == (0, 1)


async def test_a_place_freed_by_a_broken_connection_goes_to_who_waits(connect: Open) -> None:
    database = await connect(database_readers=1)
    kept = await database.readers.acquire()
    waiting = asyncio.create_task(database.ping())
    await asyncio.sleep(0)
    kept.connection.terminate()
    database.readers.release(kept)
    await waiting
    assert (database.readers.opened, database.readers.in_use, database.readers.idle) == (2, 0, 1)


async def test_an_error_in_order_keeps_the_connection(database: Database) -> None:
    for _ in range(5):
        with pytest.raises(DatabaseFault):
            await database.reader(SYSTEM).rows("SELECT 1/0", [])
        with pytest.raises(DatabaseFault):
            await database.reader(SYSTEM).rows("SELECT nothing", [])
        with pytest.raises(DatabaseFault):
            await database.run("SELECT $1::uuid", "not an id")
    assert (database.readers.opened, database.readers.idle, database.writers.opened) == (1, 1, 1)


async def test_a_slow_statement_is_stopped_by_the_server(connect: Open, admin: Admin) -> None:
    database = await connect(statement_timeout=0.1)
    with pytest.raises(Unavailable):
        await database.reader(SYSTEM).rows(SLOW, [])
    await running(admin, 0)
    assert (database.readers.opened, database.readers.idle) == (1, 1)


async def test_a_read_on_a_connection_that_died_is_made_again(database: Database, create: Create, admin: Admin) -> None:
    await create(Mark)
    await asyncio.gather(*(marks.all(database.reader(SYSTEM)) for _ in range(4)))
    before = database.readers.opened
    await admin.execute(f"SELECT pg_terminate_backend(pid) {MINE}")
    assert await asyncio.gather(*(marks.all(database.reader(SYSTEM)) for _ in range(4))) == [[], [], [], []]
    assert database.readers.opened > before


async def test_a_backend_killed_under_a_read_is_replaced(database: Database, admin: Admin) -> None:
    await database.ping()
    read = asyncio.create_task(database.reader(SYSTEM).rows("SELECT pg_sleep(0.3)", []))
    await running(admin, 1)
    await admin.execute(f"SELECT pg_terminate_backend(pid) {MINE}")
    assert len(await read) == 1
    assert database.readers.opened == 2


async def test_a_write_is_never_made_twice_by_itself(database: Database, create: Create, admin: Admin) -> None:
    await create(Mark)
    await database.run("SELECT 1")
    write = asyncio.create_task(database.run("INSERT INTO marks SELECT gen_random_uuid(), 'x' FROM pg_sleep(0.3)"))
    await running(admin, 1)
    await admin.execute(f"SELECT pg_terminate_backend(pid) {MINE}")
    with pytest.raises(Unavailable):
        await write
    assert await marks.all(database.reader(SYSTEM)) == []


async def test_a_changed_schema_is_not_seen_outside_a_transaction(database: Database, create: Create, admin: Admin) -> None:
    await create(Mark)
    await marks.all(database.reader(SYSTEM))
    await database.run("SELECT name FROM marks")
    await admin.execute("ALTER TABLE marks ALTER COLUMN name TYPE varchar(80)")
    assert await marks.all(database.reader(SYSTEM)) == []
    assert await database.run("SELECT name FROM marks") == []
    assert (database.readers.opened, database.writers.opened) == (1, 1)


async def test_the_statements_of_a_connection_are_bounded(database: Database) -> None:
    for number in range(520):
        await database.reader(SYSTEM).rows(f"SELECT {number}", [])
    (kept,) = database.readers._free
    assert len(kept._prepared) == 512
    assert await kept.connection.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 514


async def test_a_server_that_goes_and_comes_back_is_an_interruption(connect: Open, data_url: str, create: Create) -> None:
    await create(Mark)
    wire = Proxy(data_url)
    await wire.open()
    database = await connect(through(data_url, wire.port))
    await asyncio.gather(*(marks.all(database.reader(SYSTEM)) for _ in range(4)))
    await wire.close()
    for _ in range(3):
        answers = await asyncio.gather(*(marks.all(database.reader(SYSTEM)) for _ in range(8)), return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers), answers
        with pytest.raises(Unavailable):
            async with database.unit(SYSTEM) as unit:
                await marks.put(unit, id=uuid4(), name="lost")
    await wire.open()
    assert await marks.all(database.reader(SYSTEM)) == []
    async with database.unit(SYSTEM) as unit:
        assert await marks.put(unit, id=uuid4(), name="kept") == 1
    assert (database.readers.in_use, database.writers.in_use) == (0, 0)
    await database.close()
    await wire.close()


async def test_a_server_that_does_not_answer_is_given_up(connect: Open) -> None:
    over: list[asyncio.Event] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.Event())
        mine = over[-1]
        with suppress(OSError):
            await reader.read()
        writer.transport.abort()
        await asyncio.sleep(0)
        mine.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = await connect(f"postgresql://postgres@127.0.0.1:{port}/x?sslmode=disable", database_wait=0.1)
    with pytest.raises(Unavailable):
        await database.ping()
    assert (database.readers.in_use, database.readers.idle) == (0, 0)
    with pytest.raises(CannotStart, match="can't be reached"):
        await database.start()
    server.close()
    await asyncio.sleep(0)
    await asyncio.gather(*(one.wait() for one in over))


async def test_starting_says_what_is_wrong_and_no_password(connect: Open) -> None:
    for url in ("postgresql://me:hunter2@127.0.0.1:1/x", "nonsense:hunter2", "postgresql://me:hunter2@127.0.0.1:5432/nothing_of_this_name"):
        database = await connect(url)
        with pytest.raises(CannotStart, match="can't be reached") as caught:
            await database.start()
        assert "hunter2" not in f"{caught.value} {caught.value.hint} {database!r}"
        assert caught.value.__cause__ is None


async def test_a_closed_database_gives_no_connection(database: Database) -> None:
    await database.start()
    held = await database.readers.acquire()
    await database.close()
    with pytest.raises(Unavailable):
        await database.ping()
    database.readers.release(held)
    await database.close()
    assert held.connection.is_closed()


class Waits(PoolObserver):
    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def waited(self, pool: str, seconds: float) -> None:
        self.seen.append((pool, seconds))


async def test_waiting_is_told_to_the_observer() -> None:
    waits = Waits()
    connection = _Standing()

    async def connect() -> Any:
        return connection

    pool = Connections("readers", connect, size=1, wait=0.05, traffic=Traffic(), clock=SystemClock(), observer=waits)
    kept = await pool.acquire()
    assert waits.seen == []
    with pytest.raises(Unavailable):
        await pool.acquire()
    later = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(kept)
    assert await later is kept
    assert [name for name, _ in waits.seen] == ["readers", "readers"]
    assert 0.04 < waits.seen[0][1] < 1


class _Standing:
    """A connection of which nothing is asked."""

    def __init__(self) -> None:
        self._protocol = self

    async def bind_execute(self, *_: object) -> None:
        raise AssertionError("nothing is asked of it")

    def is_closed(self) -> bool:
        return False
