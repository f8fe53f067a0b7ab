"""Units that depend on a row: what was decided by it happens in one statement, if it is still the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
import pytest

from fortress.data import Database, Moved, Repository, Unit, UnitFailed, change, one, param, revision, select, update
from fortress.security.permissions import Method
from fortress.security.principal import SYSTEM, Principal

if TYPE_CHECKING:
    from tests.data.conftest import Create

from tests.data.things import ME, Part, Thing, ThingMade, audits, events, kept, parts, thing, things

STRANGER = Principal(uuid4(), Method.SESSION, session=uuid4())


class Seen(msgspec.Struct, frozen=True):
    """A row as it was seen."""

    revision: int
    name: str


class Guarded(Repository[Thing]):
    """Changes that other changes depend on."""

    seen = one(select(revision(Thing), Thing.c.name).where(Thing.c.id == param("id")), into=Seen)
    unchanged = change(
        update(Thing).where(Thing.c.id == param("id"), revision(Thing) == param("revision", int)).values(version=Thing.c.version + 1)
    )
    put = change(update(Thing).where(Thing.c.id == param("id")).values(amount=param("amount")))


guarded = Guarded()


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Thing, Part)


async def two_things(database: Database) -> tuple[Thing, Thing]:
    first, second = thing("first"), thing("second")
    async with database.unit(ME) as unit:
        await things.add_all(unit, [first, second])
    return first, second


async def all_that_depends(unit: Unit, first: Thing, second: Thing, revision: int, made: Thing) -> None:
    guarded.unchanged.guards(unit, id=first.id, revision=revision)
    guarded.put.later(unit, id=second.id, amount=3)
    await things.add(unit, made)
    await parts.add_all(unit, [Part(uuid4(), made.id, number) for number in range(2)])
    unit.record(ThingMade(thing_id=made.id, name=made.name))
    unit.audit("things.made", target=made.id)
    unit.notify("made")


async def test_what_depends_on_a_row_is_one_round_trip(database: Database) -> None:
    first, second = await two_things(database)
    made, seen = thing("third"), await guarded.seen(database.reader(ME), id=first.id)
    with database.counting() as count:
        async with database.unit(ME) as unit:
            await all_that_depends(unit, first, second, seen.revision, made)
    assert count.round_trips == 1
    reader = database.reader(SYSTEM)
    assert await things.all(reader) == [
        msgspec.structs.replace(first, version=2),
        msgspec.structs.replace(second, amount=3),
        made,
    ]
    assert len(await parts.all(reader)) == 2
    assert len(await audits.all(reader)) == len(await events.all(reader)) == 1


@pytest.mark.parametrize("read_first", [False, True], ids=["alone", "in a transaction"])
async def test_when_the_row_was_written_nothing_of_it_happens(database: Database, read_first: bool) -> None:
    first, second = await two_things(database)
    seen = await guarded.seen(database.reader(ME), id=first.id)
    async with database.unit(ME) as unit:
        await guarded.put(unit, id=first.id, amount=first.amount)
    before = await kept(database)
    told: list[str] = []

    async def outdated() -> None:
        async with database.unit(ME) as unit:
            unit.after_commit(lambda: told.append("committed"))
            await all_that_depends(unit, first, second, seen.revision, thing("third"))
            if read_first:
                await things.count(unit)

    with pytest.raises(Moved):
        await outdated()
    assert await kept(database) == before
    assert (await things.by_id(database.reader(SYSTEM), id=second.id)).amount == second.amount
    assert told == []


async def test_a_row_that_is_being_written_is_waited_for(database: Database) -> None:
    first, second = await two_things(database)
    seen = await guarded.seen(database.reader(ME), id=first.id)
    async with database.unit(ME) as other:
        await guarded.put(other, id=first.id, amount=1)
        unit = database.unit(ME)
        await all_that_depends(unit, first, second, seen.revision, thing("third"))
        waiting = asyncio.create_task(unit.__aexit__(None, None, None))
        assert not (await asyncio.wait({waiting}, timeout=0.05))[0]
    with pytest.raises(Moved):
        await waiting


async def test_a_unit_depends_on_one_change(database: Database) -> None:
    first, second = await two_things(database)
    unit = database.unit(ME)
    guarded.unchanged.guards(unit, id=first.id, revision=1)
    with pytest.raises(UnitFailed, match="at most"):
        guarded.unchanged.guards(unit, id=second.id, revision=1)


async def test_what_waits_stays_within_the_callers_reach(database: Database) -> None:
    first, _ = await two_things(database)
    async with database.unit(STRANGER) as unit:
        guarded.put.later(unit, id=first.id, amount=1)
    assert (await things.by_id(database.reader(SYSTEM), id=first.id)).amount == first.amount
    async with database.unit(ME) as unit:
        guarded.put.later(unit, id=first.id, amount=1)
    assert (await things.by_id(database.reader(SYSTEM), id=first.id)).amount == 1
