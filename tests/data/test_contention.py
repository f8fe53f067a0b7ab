"""Units among others, and among broken connections: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from fortress.clock import FixedClock
from fortress.context import RequestContext, current
from fortress.data import (
    Contended,
    Database,
    DatabaseFault,
    Isolation,
    retrying,
)
from fortress.errors import StaleVersion, Unavailable

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

from tests.data.things import KILL, ME, Part, Thing, ThingMade, kept, parts, thing, things

Admin = Any


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Thing, Part)


@pytest.fixture
def request_context() -> Iterator[RequestContext]:
    made = RequestContext("request-1", "192.0.2.7")
    token = current.set(made)
    yield made
    current.reset(token)


async def test_of_two_writers_of_one_version_one_is_stale(database: Database) -> None:
    made = thing()
    async with database.unit(ME) as unit:
        await things.add(unit, made)

    async def rename(name: str) -> bool:
        try:
            async with database.unit(ME) as unit:
                await things.save(unit, msgspec.structs.replace(made, name=name))
        except StaleVersion:
            return False
        return True

    assert sorted(await asyncio.gather(*(rename(f"{number}") for number in range(4)))) == [False, False, False, True]


async def test_the_last_unit_is_sold_once(database: Database) -> None:
    made = thing(amount=1)
    async with database.unit(ME) as unit:
        await things.add(unit, made)

    async def buy() -> int:
        async with database.unit(ME) as unit:
            return len(await things.take(unit, id=made.id, amount=1))

    assert sum(await asyncio.gather(*(buy() for _ in range(30)))) == 1


async def test_a_serialization_failure_is_tried_again(database: Database) -> None:
    """Two read the sum and add what depends on it: PostgreSQL lets one of them commit, the other begins anew."""
    async with database.unit(ME) as unit:
        await things.add(unit, thing("first", amount=1))
    meeting = asyncio.Barrier(2)
    tries: list[str] = []

    async def double(name: str) -> None:
        tries.append(name)
        async with database.unit(ME, isolation=Isolation.SERIALIZABLE) as unit:
            amount = await things.amounts(unit)
            if len(tries) <= 2:
                await meeting.wait()
            await things.add(unit, thing(name, amount=amount))

    async def request(name: str) -> None:
        here = RequestContext(name, "192.0.2.7")
        current.set(here)
        await retrying(lambda: double(name), here)

    await asyncio.gather(request("a"), request("b"))
    assert len(tries) == 3
    assert sorted(one.amount for one in await things.all(database.reader(ME))) == [1, 1, 2]


async def test_a_deadlock_is_contended(database: Database) -> None:
    a, b = thing("a"), thing("b")
    async with database.unit(ME) as unit:
        await things.add_all(unit, [a, b])
    meeting = asyncio.Barrier(2)

    async def take(first: Thing, second: Thing) -> bool:
        try:
            async with database.unit(ME) as unit:
                await things.take(unit, id=first.id, amount=1)
                await meeting.wait()
                await things.take(unit, id=second.id, amount=1)
        except Contended:
            return False
        return True

    assert sorted(await asyncio.gather(take(a, b), take(b, a))) == [False, True]
    assert database.writers.in_use == 0


async def test_a_lock_is_waited_for_so_long(connect: Open, admin: Admin) -> None:
    database = await connect(lock_timeout=0.1)
    made = thing()
    async with database.unit(ME) as unit:
        await things.add(unit, made)
    async with admin.transaction():
        await admin.execute("SELECT 1 FROM things FOR UPDATE")
        with pytest.raises(Unavailable) as caught:
            async with database.unit(ME) as unit:
                await things.locked(unit, id=made.id)
    assert caught.value.headers["retry-after"] == "1"
    assert (database.writers.in_use, database.writers.idle) == (0, 1)


async def test_a_transaction_left_open_is_ended_by_the_server(connect: Open) -> None:
    database = await connect(idle_transaction_timeout=0.1)

    async def work() -> None:
        async with database.unit(ME) as unit:
            await things.count(unit)
            ended = asyncio.Event()
            assert unit._kept is not None
            unit._kept.connection.add_termination_listener(lambda _: ended.set())
            await asyncio.wait_for(ended.wait(), 5)
            await things.count(unit)

    with pytest.raises(Unavailable):
        await work()
    async with database.unit(ME) as unit:
        await things.add(unit, thing())
    assert database.writers.in_use == 0


async def test_a_cancelled_unit_leaves_nothing(database: Database) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with database.unit(ME) as unit:
            await things.add(unit, thing())
            await unit.flush()
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await database.close()
    assert database.writers.in_use == 0


async def test_a_lost_commit_is_never_repeated(database: Database, admin: Admin, request_context: RequestContext) -> None:
    """Nobody knows whether it happened, so the request counts as committed."""
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        async with database.unit(ME) as unit:
            await things.add(unit, thing())
            await unit.flush()
            assert unit._kept is not None
            unit._kept.connection.terminate()

    with pytest.raises(Unavailable):
        await retrying(work, request_context)
    assert tries == 1
    assert request_context.committed


async def test_a_unit_outlives_a_connection_that_died_while_kept(database: Database, admin: Admin) -> None:
    async with database.unit(ME) as unit:
        await things.add(unit, thing("a"))
        await unit.flush()
    await admin.execute(KILL)
    async with database.unit(ME) as unit:
        await things.count(unit)
        await things.add(unit, thing("b"))
    assert await things.count(database.reader(ME)) == 2


async def test_a_statement_on_a_dead_connection_fails_the_unit(database: Database, admin: Admin) -> None:
    async def work() -> None:
        async with database.unit(ME) as unit:
            await things.add(unit, thing())
            await unit.flush()
            await admin.execute(KILL)
            await things.count(unit)

    with pytest.raises(Unavailable):
        await work()
    assert await kept(database) == 0
    assert database.writers.in_use == 0


async def test_a_changed_schema_is_met_by_preparing_anew(database: Database, admin: Admin, request_context: RequestContext) -> None:
    async def work() -> int:
        async with database.unit(ME) as unit:
            return len(await things.all(unit))

    await work()
    await admin.execute("ALTER TABLE things ALTER COLUMN amount TYPE int")
    assert await retrying(work, request_context) == 0


async def test_an_error_never_shows_the_statement_or_its_values(database: Database, admin: Admin) -> None:
    await admin.execute("DROP TABLE parts")
    with pytest.raises(DatabaseFault) as caught:
        async with database.unit(ME) as unit:
            await parts.add(unit, Part(uuid4(), uuid4(), 4711))
    assert "UndefinedTableError" in str(caught.value)
    assert "INSERT" not in str(caught.value)
    assert "4711" not in str(caught.value)
    assert caught.value.__suppress_context__
    await admin.execute("ALTER TABLE things ADD COLUMN more int NOT NULL")
    with pytest.raises(DatabaseFault) as caught:
        async with database.unit(ME) as unit:
            await things.add(unit, thing("hunter2"))
    assert "column more" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_rows_go_to_the_partition_of_their_month(connect: Open, admin: Admin) -> None:
    await admin.execute("CREATE TABLE events_may PARTITION OF events FOR VALUES FROM ('2026-05-01') TO ('2026-06-01')")
    clock = FixedClock(datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC))
    database = await connect(clock=clock)
    for _ in range(2):
        async with database.unit(ME) as unit:
            unit.record(ThingMade(uuid4(), "a"))
        clock.advance(timedelta(seconds=1))
    assert await admin.fetchval("SELECT count(*) FROM events_may") == 1
    assert await admin.fetchval("SELECT count(*) FROM events_default") == 1
    with pytest.raises(asyncpg.PostgresError):
        await admin.execute("INSERT INTO events (seq) VALUES (1)")
