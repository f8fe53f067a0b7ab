"""One action, one transaction: all of it or nothing, in as few round trips as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from fortress.clock import FixedClock
from fortress.context import RequestContext, current
from fortress.data import (
    AuditEntry,
    Check,
    Contended,
    Database,
    DatabaseFault,
    Entity,
    EventEntry,
    Isolation,
    Key,
    Owner,
    References,
    Repository,
    Unique,
    Unit,
    UnitFailed,
    Version,
    change,
    func,
    many,
    one,
    param,
    retrying,
    select,
    update,
)
from fortress.errors import Conflict, Invalid, StaleVersion, TooLarge, Unavailable
from fortress.events import Fact
from fortress.security.permissions import Method
from fortress.security.principal import SYSTEM, Principal

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

Admin = Any


class NameTaken(Conflict):
    """That name is somebody's."""

    code = "things.name_taken"


class TooMany(Conflict):
    """So many are not allowed."""

    code = "things.too_many"


class Thing(Entity, frozen=True):
    __tablename__ = "things"
    __indexes__ = (
        Unique("uq_things_name", "name", raises=NameTaken),
        Unique("uq_things_place", ("place",)),
        Check("ck_things_many", "amount <= 100", raises=TooMany),
        Check("ck_things_few", "amount >= 0"),
    )
    id: Key
    owner_id: Owner
    name: str
    place: int | None
    amount: int
    version: Version


class Part(Entity, frozen=True):
    __tablename__ = "parts"
    id: Key
    thing_id: Annotated[UUID, References("things.id")]
    number: int


class ThingMade(Fact, frozen=True):
    thing_id: UUID
    name: str


class Things(Repository[Thing]):
    by_id = one(select(Thing).where(Thing.c.id == param("id")))
    locked = one(select(Thing).where(Thing.c.id == param("id")).with_for_update())
    all = many(select(Thing).order_by(Thing.c.name))
    count = one(select(func.count()).select_from(Thing.table), into=int)
    amounts = one(select(func.coalesce(func.sum(Thing.c.amount), 0)), into=int)
    take = change(
        update(Thing)
        .where(Thing.c.id == param("id"), Thing.c.amount >= param("amount"))
        .values(amount=Thing.c.amount - param("amount"))
        .returning(*Thing.c)
    )


class Parts(Repository[Part]):
    all = many(select(Part).order_by(Part.c.number))


class Audits(Repository[AuditEntry]):
    all = many(select(AuditEntry).order_by(AuditEntry.c.tx, AuditEntry.c.seq))


class Events(Repository[EventEntry]):
    all = many(select(EventEntry).order_by(EventEntry.c.tx, EventEntry.c.seq))


KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'fortress' AND datname = current_database()
"""
ME = Principal(uuid4(), Method.SESSION, session=uuid4())
things, parts, audits, events = Things(), Parts(), Audits(), Events()


def thing(name: str = "thing", **changed: Any) -> Thing:
    return msgspec.structs.replace(Thing(uuid4(), ME.id, name, None, 10, 1), **changed)


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Thing, Part)


@pytest.fixture
def request_context() -> Iterator[RequestContext]:
    made = RequestContext("request-1", "192.0.2.7")
    token = current.set(made)
    yield made
    current.reset(token)


async def kept(database: Database) -> int:
    reader = database.reader(SYSTEM)
    return await things.count(reader) + len(await audits.all(reader)) + len(await events.all(reader))


async def everything(database: Database, unit: Unit, made: Thing) -> None:
    await things.add(unit, made)
    await parts.add_all(unit, [Part(uuid4(), made.id, number) for number in range(3)])
    unit.record(ThingMade(made.id, made.name))
    unit.audit("things.made", target=made.id, detail={"parts": 3})
    unit.notify("things:made")


async def test_adding_everything_is_one_round_trip(database: Database) -> None:
    made = thing()
    with database.counting() as count:
        async with database.unit(ME) as unit:
            await everything(database, unit, made)
    assert count.round_trips == 1
    reader = database.reader(SYSTEM)
    assert await things.all(reader) == [made]
    assert [part.number for part in await parts.all(reader)] == [0, 1, 2]
    assert len(await audits.all(reader)) == len(await events.all(reader)) == 1


async def test_placing_an_order_is_four_round_trips(database: Database) -> None:
    """BEGIN, the reservation, all new rows, COMMIT."""
    stock = thing("stock")
    async with database.unit(ME) as unit:
        await things.add(unit, stock)
    with database.counting() as count:
        async with database.unit(ME) as unit:
            (left,) = await things.take(unit, id=stock.id, amount=3)
            assert left.amount == 7
            await everything(database, unit, thing("order"))
    assert count.round_trips == 4
    assert await things.count(database.reader(SYSTEM)) == 2


async def test_a_unit_that_does_nothing_costs_nothing(database: Database) -> None:
    with database.counting() as count:
        async with database.unit(ME):
            pass
    assert (count.round_trips, database.writers.opened) == (0, 0)


class Stop(Exception):
    pass


@pytest.mark.parametrize("reads_first", [True, False])
@pytest.mark.parametrize("flushes", [True, False])
async def test_an_exception_rolls_everything_back(database: Database, reads_first: bool, flushes: bool) -> None:
    async def work() -> None:
        async with database.unit(ME) as unit:
            if reads_first:
                await things.count(unit)
            await everything(database, unit, thing())
            if flushes:
                await unit.flush()
            raise Stop

    with pytest.raises(Stop):
        await work()
    assert await kept(database) == 0
    assert (database.writers.in_use, database.writers.idle) == (0, int(reads_first or flushes))


async def test_a_read_in_a_unit_sees_what_was_added(database: Database) -> None:
    async with database.unit(ME) as unit:
        made = await things.add(unit, thing())
        assert await things.by_id(unit, id=made.id) == made
        assert await things.by_id.maybe(database.reader(ME), id=made.id) is None
        assert (await things.save(unit, made)).version == 2
    assert (await things.by_id(database.reader(ME), id=made.id)).version == 2


@pytest.mark.parametrize(
    ("second", "error", "code"),
    [
        ({"name": "thing"}, NameTaken, "things.name_taken"),
        ({"name": "b", "place": 1}, Conflict, "things.exists"),
        ({"name": "b", "amount": 101}, TooMany, "things.too_many"),
        ({"name": "b", "amount": -1}, Invalid, "request.invalid"),
    ],
)
async def test_a_breach_becomes_what_the_entity_declares(
    database: Database, second: dict[str, Any], error: type[Exception], code: str
) -> None:
    async with database.unit(ME) as unit:
        await things.add(unit, thing(place=1))
    with pytest.raises(error) as caught:
        async with database.unit(ME) as unit:
            await everything(database, unit, thing(**second))
    assert getattr(caught.value, "code", None) == code
    assert "thing" not in str(caught.value).replace("something", "")
    assert caught.value.__cause__ is None
    assert await kept(database) == 1


async def test_a_key_of_another_row_exists_already(database: Database) -> None:
    made = thing()
    async with database.unit(ME) as unit:
        await things.add(unit, made)
    with pytest.raises(Conflict) as caught:
        async with database.unit(ME) as unit:
            await things.add(unit, thing("other", id=made.id))
    assert caught.value.code == "things.exists"


async def test_a_reference_to_nothing_is_a_conflict(database: Database) -> None:
    with pytest.raises(Conflict):
        async with database.unit(ME) as unit:
            await parts.add(unit, Part(uuid4(), uuid4(), 1))


async def test_a_flush_shows_the_breach_where_it_happens(database: Database) -> None:
    async with database.unit(ME) as unit:
        await things.add(unit, thing())

    async def work() -> None:
        async with database.unit(ME) as unit:
            await things.add(unit, thing())
            try:
                await unit.flush()
            except NameTaken:
                raise Stop from None

    with pytest.raises(Stop):
        await work()


async def test_a_unit_whose_statement_failed_cannot_commit(database: Database) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with a quiet ROLLBACK."""
    async with database.unit(ME) as unit:
        await things.add(unit, thing())

    async def work() -> None:
        async with database.unit(ME) as unit:
            await things.add(unit, thing("second"))
            await unit.flush()
            await things.add(unit, thing())
            with suppress(NameTaken):
                await unit.flush()

    with pytest.raises(UnitFailed):
        await work()
    assert await kept(database) == 1

    async def more() -> None:
        async with database.unit(ME) as unit:
            await things.add(unit, thing())
            with suppress(NameTaken):
                await unit.flush()
            await things.count(unit)

    with pytest.raises(UnitFailed, match="nothing more"):
        await more()
    assert database.writers.in_use == 0


async def test_a_unit_is_used_once(database: Database) -> None:
    async with database.unit(ME) as unit:
        await things.add(unit, thing())
    for use in (lambda: things.add(unit, thing("b")), lambda: things.count(unit)):
        with pytest.raises(UnitFailed, match="over"):
            await use()
    with pytest.raises(UnitFailed, match="over"):
        unit.notify("late")
    assert await kept(database) == 1


async def test_two_tasks_in_one_unit_are_told_so(database: Database) -> None:
    async def work() -> None:
        async with database.unit(ME) as unit:
            await things.count(unit)
            await asyncio.gather(*(things.count(unit) for _ in range(2)))

    with pytest.raises(DatabaseFault, match="two tasks"):
        await work()
    await database.close()
    assert database.writers.in_use == 0


async def test_the_audit_row_says_who_did_what(connect: Open, request_context: RequestContext) -> None:
    clock = FixedClock(datetime(2026, 5, 1, tzinfo=UTC))
    database = await connect(clock=clock)
    made = thing()
    async with database.unit(ME) as unit:
        unit.audit("things.made", target=made.id, detail={"parts": 3})
    (entry,) = await audits.all(database.reader(SYSTEM))
    assert (entry.at, entry.actor_id, entry.actor_kind, entry.session) == (clock.now(), ME.id, "session", ME.session)
    assert (entry.action, entry.target, entry.detail) == ("things.made", str(made.id), {"parts": 3})
    assert (entry.request_id, entry.address) == ("request-1", "192.0.2.7")
    assert entry.id.version == 7
    assert entry.tx > 0


async def test_the_event_row_says_what_happened(database: Database, request_context: RequestContext) -> None:
    made = thing()
    async with database.unit(ME) as unit:
        unit.record(ThingMade(made.id, "a"))
        unit.record(ThingMade(made.id, "b"))
    first, second = await events.all(database.reader(SYSTEM))
    assert (first.name, first.version, first.aggregate) == ("ThingMade", 1, made.id)
    assert (first.payload, second.payload["name"]) == ({"thing_id": str(made.id), "name": "a"}, "b")
    assert (first.actor_id, first.request_id) == (ME.id, "request-1")
    assert first.tx == second.tx
    assert first.seq < second.seq


async def test_a_fact_that_lies_about_its_type_is_refused(database: Database) -> None:
    with pytest.raises(msgspec.ValidationError):
        async with database.unit(ME) as unit:
            unit.record(ThingMade("not an id", "a"))  # type: ignore[arg-type]
    assert await kept(database) == 0


async def test_the_logs_are_bounded(database: Database) -> None:
    async with database.unit(ME) as unit:
        with pytest.raises(TooLarge):
            unit.record(ThingMade(uuid4(), "x" * 16_384))
        with pytest.raises(TooLarge):
            unit.audit("things.made", detail={"x": "y" * 4096})
        for message in ("", "x" * 8000):
            with pytest.raises(ValueError, match="1 to 7999"):
                unit.notify(message)
    assert await kept(database) == 0


async def test_a_notice_is_heard_with_the_commit_only(database: Database, admin: Admin) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await admin.add_listener("fortress", lambda *parts: heard.put_nowait(parts[3]))
    with suppress(Stop):
        async with database.unit(ME) as unit:
            unit.notify("undone")
            await unit.flush()
            raise Stop
    async with database.unit(ME) as unit:
        unit.notify("a")
        unit.notify("a")
        await things.add(unit, thing())
    async with database.unit(ME) as unit:
        unit.notify("b")
    assert [await asyncio.wait_for(heard.get(), 5) for _ in range(2)] == ["a", "b"]


async def test_many_rows_with_arrays_go_out_in_bounded_statements(database: Database, admin: Admin) -> None:
    class Tagged(Entity, frozen=True):
        __tablename__ = "tagged"
        id: Key
        tags: list[str]

    await admin.execute("CREATE TABLE tagged (id uuid PRIMARY KEY, tags text[] NOT NULL)")
    with database.counting() as count:
        async with database.unit(ME) as unit:
            unit.add(Tagged(uuid4(), ["a"] * number) for number in range(20))
    assert count.round_trips == 2 + 3
    assert await admin.fetchval("SELECT sum(cardinality(tags)) FROM tagged") == sum(range(20))


async def test_the_texts_of_flushes_are_few_and_bounded(database: Database) -> None:
    for number in range(5):
        async with database.unit(ME) as unit:
            await everything(database, unit, thing(f"{number}"))
            await things.add_all(unit, [thing(f"{number}/{index}") for index in range(number)])
    assert database.prepares <= 2


async def test_a_commit_marks_the_request(database: Database, request_context: RequestContext) -> None:
    with suppress(Stop):
        async with database.unit(ME) as unit:
            await things.count(unit)
            raise Stop
    async with database.unit(ME) as unit:
        await things.count(unit)
    assert not request_context.committed
    async with database.unit(ME) as unit:
        await things.add(unit, thing())
    assert request_context.committed


async def test_callbacks_run_after_the_commit_only(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    with suppress(Stop):
        async with database.unit(ME) as unit:
            unit.after_commit(lambda: told.append("undone"))
            await things.add(unit, thing())
            raise Stop

    def broken() -> None:
        raise Stop

    with caplog.at_level(logging.ERROR):
        async with database.unit(ME) as unit:
            unit.after_commit(broken)
            unit.after_commit(lambda: told.append("done"))
            await things.add(unit, thing())
            assert told == []
    assert told == ["done"]
    assert "callback" in caplog.text


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
