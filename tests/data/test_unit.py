"""One action, one transaction: all of it or nothing, in as few round trips as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pytest

from fortress import failpoints
from fortress.clock import FixedClock
from fortress.context import RequestContext, current
from fortress.data import (
    Database,
    DatabaseFault,
    Entity,
    Key,
    Unit,
    UnitFailed,
)
from fortress.errors import Conflict, Invalid, TooLarge
from fortress.fact import UndeclaredFact
from fortress.failpoints import FailpointError
from fortress.security.principal import SYSTEM

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

from tests.data.things import ME, NameTaken, Part, Thing, ThingMade, TooMany, audits, events, everything, kept, parts, thing, things

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


async def test_a_fact_that_nobody_declares_is_refused(database: Database) -> None:
    database.declare([ThingMade])

    class ThingLost(ThingMade, frozen=True):
        pass

    async with database.unit(ME) as unit:
        unit.record(ThingMade(uuid4(), "a"))
        with pytest.raises(UndeclaredFact, match=r"ThingLost.*facts="):
            unit.record(ThingLost(uuid4(), "a"))
    assert [event.name for event in await events.all(database.reader(SYSTEM))] == ["ThingMade"]


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


@pytest.mark.parametrize("reads_first", [True, False])
@pytest.mark.parametrize(("place", "rows"), [("before_commit", 0), ("after_commit_before_wake", 3)])
async def test_a_fault_around_the_commit_leaves_all_of_it_or_nothing(database: Database, reads_first: bool, place: str, rows: int) -> None:
    told: list[str] = []

    async def work(unit: Unit) -> None:
        async with unit:
            if reads_first:
                await things.count(unit)
            unit.after_commit(lambda: told.append("done"))
            await everything(database, unit, thing())

    failpoints.arm(f"{place}:error@hit=1")
    try:
        async with database.unit(ME):
            pass
        with pytest.raises(FailpointError):
            await work(database.unit(ME))
    finally:
        failpoints.disarm()
    assert told == []
    assert await kept(database) == rows
    assert database.writers.in_use == 0
