"""Blind indexes under new keys: people are found at every step, and nobody twice (ASVS V11.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.data.people import EmailTaken, Human, Letter, born, human, humans

from fortress.data import Database
from fortress.data.entity import shape_of
from fortress.data.personal import scanning
from fortress.data.personal.reindexing import Reindexing
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
    monkeypatch.setattr(scanning, "BATCH", 2)
    await create(Human, Letter)
    made = [human(f"Person-{number}@example.com", name="Ann" if number % 2 else None) for number in range(PEOPLE)]
    await born(database, *made)
    return made


@pytest.fixture
def reindexed(database: Database) -> Reindexing:
    return Reindexing(database, SHAPES)


async def found(connect: Open, people: list[Human]) -> None:
    """By another process, which has nothing in memory."""
    reader = (await connect()).reader(SYSTEM)
    for one in people:
        assert await humans.by_email(reader, email=one.email.upper()) == one
    assert {one.id for one in await humans.named(reader, name="ANN", points=0)} == {one.id for one in people if one.name}


async def digests(admin: Admin) -> set[bytes]:
    return {
        row[0] for row in await admin.fetch("SELECT email_key FROM humans UNION SELECT name_key FROM humans WHERE name_key IS NOT NULL")
    }


async def states(admin: Admin) -> list[tuple[int, str]]:
    rows = await admin.fetch("SELECT version, state FROM index_keys WHERE purpose = 'humans.email_key' ORDER BY version")
    return [(row["version"], row["state"]) for row in rows]


async def test_every_row_is_found_at_every_step_and_the_old_keys_are_gone(
    reindexed: Reindexing, connect: Open, people: list[Human], admin: Admin
) -> None:
    before = await digests(admin)
    assert await reindexed.announce()
    assert await states(admin) == [(1, "active"), (2, "next")]
    await found(connect, people)
    assert await reindexed.activate()
    assert await states(admin) == [(1, "retired"), (2, "active")]
    await found(connect, people)
    assert [step async for step in reindexed.reindex()][-1] == Step(PEOPLE, PEOPLE)
    await found(connect, people)
    assert await reindexed.drop() == 2
    assert await states(admin) == [(2, "active")]
    await found(connect, people)
    assert not before & await digests(admin)
    assert len(await digests(admin)) == len(before)


async def test_ended_at_any_step_it_is_gone_on_with(reindexed: Reindexing, connect: Open, people: list[Human], admin: Admin) -> None:
    for _ in range(2):
        assert await reindexed.announce()
    assert await states(admin) == [(1, "active"), (2, "next")]
    await reindexed.activate()
    assert not await reindexed.announce(), "rows are being indexed already"
    assert not await reindexed.activate()
    async for _ in reindexed.reindex():
        break
    await found(connect, people)
    assert not await reindexed.announce()
    steps = [step async for step in reindexed.reindex()]
    assert steps[-1] == Step(PEOPLE, PEOPLE)
    await reindexed.drop()
    assert await states(admin) == [(2, "active")]
    await found(connect, people)


async def test_nobody_can_be_there_twice_while_two_keys_count(reindexed: Reindexing, connect: Open, people: list[Human]) -> None:
    await reindexed.announce()
    await reindexed.activate()
    with pytest.raises(EmailTaken):
        await born(await connect(), human(people[0].email))
    [_ async for _ in reindexed.reindex()]
    with pytest.raises(EmailTaken):
        await born(await connect(), human(people[0].email))


async def test_what_stands_there_twice_is_named_and_the_others_are_done(
    reindexed: Reindexing, connect: Open, database: Database, people: list[Human], admin: Admin
) -> None:
    await reindexed.announce()
    await reindexed.activate()
    await database.personal.indexes.ready(["humans.email_key"])
    (field,) = [blind for blind in SHAPES[0].personal.blind if blind.name == "email_key"]  # type: ignore[union-attr]
    squatter = human("squatter@example.com")
    await born(database, squatter)
    taking = "UPDATE humans SET email_key = $1, email = set_byte(email, 20, 255 - get_byte(email, 20)) WHERE id = $2"
    await admin.execute(taking, database.personal.indexes.digest(field, people[1].email), squatter.id)
    with pytest.raises(CannotStart, match="2 rows can't be indexed") as refused:
        [_ async for _ in reindexed.reindex()]
    assert str(people[1].id) in refused.value.problem
    await admin.execute("DELETE FROM humans WHERE id = $1", squatter.id)
    [_ async for _ in reindexed.reindex()]
    await reindexed.drop()
    await found(connect, people)


async def test_who_changes_in_between_is_found_by_the_new_value(
    reindexed: Reindexing, connect: Open, database: Database, people: list[Human], monkeypatch: pytest.MonkeyPatch
) -> None:
    await reindexed.announce()
    await reindexed.activate()
    replaced = scanning.Scan.replace
    moved = msgspec.structs.replace(people[0], email="moved@example.com")
    done: list[bool] = []

    async def after_a_change(self: scanning.Scan, rows: Any) -> int:
        if not done:
            done.append(True)
            async with database.unit(SYSTEM) as unit:
                await humans.save(unit, moved)
        return await replaced(self, rows)

    monkeypatch.setattr(scanning.Scan, "replace", after_a_change)
    [_ async for _ in reindexed.reindex()]
    await reindexed.drop()
    await found(connect, [msgspec.structs.replace(moved, version=2), *people[1:]])


async def test_who_was_erased_is_passed_over(reindexed: Reindexing, connect: Open, database: Database, people: list[Human]) -> None:
    async with database.unit(SYSTEM) as unit:
        await database.personal.erase(unit, people[0].id)
    await reindexed.announce()
    await reindexed.activate()
    [_ async for _ in reindexed.reindex()]
    await reindexed.drop()
    await found(connect, people[1:])
