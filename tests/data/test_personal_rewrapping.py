"""Wrapped keys are wrapped anew: all of them, bound to where they were, and never over what changed meanwhile (ASVS V11.2.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.data.people import Human, Letter, born, human, humans

from fortress.clock import SystemClock
from fortress.data import Database
from fortress.data.personal import rewrapping
from fortress.data.personal.rewrapping import Rewrapping, Step
from fortress.errors import CannotStart
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing, new_ring
from fortress.security.principal import SYSTEM
from fortress.security.wrapping import RingWrapping, Unreadable

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

Admin = Any
PEOPLE = 5


@pytest.fixture
def ring(tmp_path: Any) -> KeyRing:
    keys = FileKeys(tmp_path / "keyring.json")
    keys.ensure(lambda: new_ring(SystemClock().now()))
    return KeyRing(keys, SystemClock())


@pytest.fixture
def wrapping(ring: KeyRing) -> RingWrapping:
    """A ring of the test's own, since it is rotated."""
    return RingWrapping(ring)


@pytest.fixture(autouse=True)
async def people(create: Create, database: Database) -> list[Human]:
    await create(Human, Letter)
    made = [human(f"person-{number}@example.com") for number in range(PEOPLE)]
    await born(database, *made)
    return made


@pytest.fixture
def rewrapped(database: Database, wrapping: RingWrapping) -> Rewrapping:
    return Rewrapping(database._read, database._write, wrapping)


async def through(work: AsyncIterator[Step]) -> list[Step]:
    return [step async for step in work]


async def all_readable(connect: Open, people: list[Human]) -> bool:
    """In another process, which has nothing in memory."""
    other = await connect()
    found = {one.id: one for one in await humans.some(other.reader(SYSTEM), ids=[person.id for person in people])}
    by_email = [await humans.by_email(other.reader(SYSTEM), email=person.email) for person in people]
    return [found[person.id] for person in people] == people == by_email


async def test_all_keys_are_wrapped_by_the_new_one_and_everything_is_read_as_before(
    rewrapped: Rewrapping, ring: KeyRing, wrapping: RingWrapping, connect: Open, people: list[Human], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "BATCH", 2)
    before = await rewrapped.uses()
    assert before == {wrapping.current: PEOPLE + 2}, "each person's, and of two blind indexes"
    old = ring.wrapping_keys()[0].id
    ring.rotate_wrapping()
    steps = await through(rewrapped.rewrap())
    assert steps[-1] == Step(PEOPLE + 2, PEOPLE + 2)
    assert [step.done for step in steps] == [2, 4, 5, 7]
    assert await rewrapped.uses() == {wrapping.current: PEOPLE + 2}
    assert ring.destroy_wrapping([old]) == [old]
    assert await all_readable(connect, people)


async def test_ended_in_the_middle_everything_is_readable_and_the_rest_is_done_next_time(
    rewrapped: Rewrapping, ring: KeyRing, connect: Open, people: list[Human], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "BATCH", 2)
    ring.rotate_wrapping()
    async for step in rewrapped.rewrap():
        assert step.done == 2
        break
    assert await all_readable(connect, people)
    assert (await through(rewrapped.rewrap()))[-1] == Step(PEOPLE, PEOPLE)
    assert await through(rewrapped.rewrap()) == []
    assert await all_readable(connect, people)


async def test_an_erasure_in_between_is_not_undone(
    rewrapped: Rewrapping, ring: KeyRing, database: Database, people: list[Human], admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.rotate_wrapping()
    anew = Rewrapping._anew

    async def slowly(self: Rewrapping, kind: Any, rows: Any) -> Any:
        found = await anew(self, kind, rows)
        async with database.unit(SYSTEM) as unit:
            await database.personal.erase(unit, people[0].id)
        return found

    monkeypatch.setattr(Rewrapping, "_anew", slowly)
    await through(rewrapped.rewrap())
    assert await admin.fetchval("SELECT wrapped FROM data_keys WHERE subject = $1", people[0].id) is None
    assert sum((await rewrapped.uses()).values()) == PEOPLE + 1


async def test_a_key_restored_from_before_is_refused_once_its_wrapping_key_is_destroyed(
    rewrapped: Rewrapping, ring: KeyRing, connect: Open, people: list[Human], admin: Admin
) -> None:
    """What a backup holds of an erased person's key dies with the wrapping key."""
    before = await admin.fetchrow("SELECT key_id, wrapped FROM data_keys WHERE subject = $1", people[0].id)
    old = ring.wrapping_keys()[0].id
    ring.rotate_wrapping()
    await through(rewrapped.rewrap())
    ring.destroy_wrapping([old])
    await admin.execute("UPDATE data_keys SET key_id = $1, wrapped = $2 WHERE subject = $3", *before, people[0].id)
    other = await connect()
    with pytest.raises(Unreadable):
        await humans.by_id(other.reader(SYSTEM), id=people[0].id)
    assert await humans.by_id(other.reader(SYSTEM), id=people[1].id) == people[1]


async def test_what_can_not_be_read_is_named_and_the_others_are_done(
    rewrapped: Rewrapping, ring: KeyRing, wrapping: RingWrapping, people: list[Human], admin: Admin
) -> None:
    tampered = await admin.fetchval(
        "UPDATE data_keys SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20)) WHERE subject = $1 RETURNING id", people[2].id
    )
    ring.rotate_wrapping()
    with pytest.raises(CannotStart, match=f"1 wrapped keys can't be read, data_keys {tampered}"):
        await through(rewrapped.rewrap())
    assert (await rewrapped.uses())[wrapping.current] == PEOPLE + 1


async def test_a_wrapped_key_moved_to_another_person_is_refused(connect: Open, people: list[Human], admin: Admin) -> None:
    """ASVS V11.3.3: the key is bound to its person and version."""
    await admin.execute(
        "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE subject = $1) WHERE subject = $2", people[0].id, people[1].id
    )
    with pytest.raises(Unreadable):
        await humans.by_id((await connect()).reader(SYSTEM), id=people[1].id)
