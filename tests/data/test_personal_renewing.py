"""Everybody's data under new keys: readable at every step, gone on with after a kill, and the old keys gone in the end (ASVS V11.2.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.data.people import Human, Letter, born, human, humans, kept, letter, letters

from fortress.clock import SystemClock
from fortress.data import Database, Erased
from fortress.data.entity import shape_of
from fortress.data.personal import renewing, scanning
from fortress.data.personal.renewing import Renewing
from fortress.data.personal.rewrapping import Step
from fortress.errors import CannotStart
from fortress.security.principal import SYSTEM

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

Admin = Any
PEOPLE = 5
SHAPES = [shape_of(Human), shape_of(Letter)]


@pytest.fixture(autouse=True)
async def people(create: Create, database: Database, monkeypatch: pytest.MonkeyPatch) -> list[Human]:
    monkeypatch.setattr(renewing, "BATCH", 2)
    monkeypatch.setattr(scanning, "BATCH", 2)
    await create(Human, Letter)
    made = [human(f"person-{number}@example.com") for number in range(PEOPLE)]
    await born(database, *made)
    await kept(database, *(letter(one.id, f"secret of {one.email}") for one in made), letter(made[0].id, None))
    return made


@pytest.fixture
def renewed(database: Database) -> Renewing:
    return Renewing(database, SHAPES)


async def through(work: AsyncIterator[Step]) -> Step | None:
    steps = [step async for step in work]
    return steps[-1] if steps else None


async def readable(connect: Open, people: list[Human]) -> None:
    """In another process, which has nothing in memory."""
    reader = (await connect()).reader(SYSTEM)
    found = {one.id: one for one in await humans.some(reader, ids=[person.id for person in people])}
    assert found == {one.id: one for one in people}
    emails = {one.id: one.email for one in people}
    assert all(one.text in (None, f"secret of {emails[one.human_id]}") for one in await letters.all(reader) if one.human_id in emails)


async def versions(admin: Admin) -> dict[int, int]:
    rows = await admin.fetch("SELECT version, count(*) AS n FROM data_keys WHERE wrapped IS NOT NULL GROUP BY version")
    return {row["version"]: row["n"] for row in rows}


async def sealed_by(admin: Admin) -> set[int]:
    """The versions of keys in the headers of everything that is kept."""
    found = set[bytes]()
    for table, names in (("humans", ("email", "name", "face")), ("letters", ("text",))):
        for row in await admin.fetch(f"SELECT * FROM {table}"):
            found |= {row[name][1:5] for name in names if len(row[name] or b"") > 1}
    return {int.from_bytes(one, "big") for one in found}


async def all_of_it(renewed: Renewing, before: datetime) -> None:
    for work in (renewed.make(before), renewed.reseal(), renewed.reseal(), renewed.drop()):
        await through(work)


async def test_everybody_has_a_new_key_and_the_old_ones_are_gone(
    renewed: Renewing, connect: Open, people: list[Human], admin: Admin
) -> None:
    assert await renewed.begun() is None
    assert await through(renewed.make(datetime.now(UTC))) == Step(PEOPLE, PEOPLE)
    await readable(connect, people)
    assert (await versions(admin), await sealed_by(admin)) == ({1: PEOPLE, 2: PEOPLE}, {1})
    assert await through(renewed.reseal()) == Step(2 * PEOPLE + 1, 2 * PEOPLE + 1)
    await readable(connect, people)
    assert await sealed_by(admin) == {2}
    assert await through(renewed.drop()) == Step(PEOPLE, PEOPLE)
    await readable(connect, people)
    assert await versions(admin) == {2: PEOPLE}
    assert await renewed.begun() is None


async def test_ended_at_any_step_it_is_gone_on_with(renewed: Renewing, connect: Open, people: list[Human], admin: Admin) -> None:
    started = datetime.now(UTC)
    async for _ in renewed.make(started):
        break
    began = await renewed.begun()
    assert began is not None
    await readable(connect, people)
    await through(renewed.make(began))
    assert await versions(admin) == {1: PEOPLE, 2: PEOPLE}, "nobody has a third"
    async for _ in renewed.reseal():
        break
    await readable(connect, people)
    await through(renewed.reseal())
    async for _ in renewed.drop():
        break
    await readable(connect, people)
    assert await renewed.begun() is not None
    await through(renewed.drop())
    assert await versions(admin) == {2: PEOPLE}


async def test_a_server_that_wrote_by_the_old_key_meanwhile_keeps_it_from_being_dropped(
    renewed: Renewing, connect: Open, database: Database, people: list[Human], admin: Admin
) -> None:
    slow = await connect()
    slow.personal.data._belief.trust(lambda: True)
    await humans.some(slow.reader(SYSTEM), ids=[one.id for one in people])
    await through(renewed.make(datetime.now(UTC)))
    await through(renewed.reseal())
    await kept(slow, letter(people[0].id, f"secret of {people[0].email}"))
    assert await sealed_by(admin) == {1, 2}
    await through(renewed.drop())
    assert await versions(admin) == {1: 1, 2: PEOPLE}
    await readable(connect, people)
    await through(renewed.reseal())
    await through(renewed.drop())
    assert (await versions(admin), await sealed_by(admin)) == ({2: PEOPLE}, {2})


async def test_who_was_erased_stays_so_and_who_is_erased_in_between_too(
    renewed: Renewing, connect: Open, database: Database, people: list[Human], admin: Admin
) -> None:
    async def erase(one: Human) -> None:
        async with database.unit(SYSTEM) as unit:
            await database.personal.erase(unit, one.id)

    await erase(people[0])
    await through(renewed.make(datetime.now(UTC)))
    await erase(people[1])
    await through(renewed.reseal())
    await through(renewed.drop())
    await readable(connect, people[2:])
    assert await versions(admin) == {2: PEOPLE - 2}
    other = await connect()
    for gone in people[:2]:
        with pytest.raises(Erased):
            await humans.by_id(other.reader(SYSTEM), id=gone.id)


async def test_what_changes_while_it_is_sealed_anew_keeps_the_change(
    renewed: Renewing, connect: Open, database: Database, people: list[Human], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = msgspec.structs.replace(people[0], name="Ann the Second", version=2)
    resealed = scanning.Scan.replace
    done: list[bool] = []

    async def after_a_change(self: scanning.Scan, rows: Any) -> int:
        if self.table == "humans" and not done:
            done.append(True)
            async with database.unit(SYSTEM) as unit:
                await humans.save(unit, msgspec.structs.replace(people[0], name="Ann the Second"))
        return await resealed(self, rows)

    monkeypatch.setattr(scanning.Scan, "replace", after_a_change)
    await all_of_it(renewed, datetime.now(UTC))
    assert (await humans.by_id((await connect()).reader(SYSTEM), id=people[0].id)).name == changed.name
    await readable(connect, people[1:])


async def test_what_can_not_be_read_is_named_and_its_key_is_kept(renewed: Renewing, people: list[Human], admin: Admin) -> None:
    await admin.execute("UPDATE humans SET email = set_byte(email, 20, 255 - get_byte(email, 20)) WHERE id = $1", people[3].id)
    await through(renewed.make(datetime.now(UTC)))
    with pytest.raises(CannotStart, match=f"1 rows can't be read, humans {people[3].id}"):
        await through(renewed.reseal())
    assert await sealed_by(admin) == {1, 2}
    await through(renewed.drop())
    assert await versions(admin) == {1: 1, 2: PEOPLE}


async def test_younger_keys_are_left_alone(renewed: Renewing, admin: Admin) -> None:
    before = SystemClock().now().replace(year=2020)
    await all_of_it(renewed, before)
    assert await versions(admin) == {1: PEOPLE}
