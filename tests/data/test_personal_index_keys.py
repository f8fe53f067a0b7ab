"""An index key is turned over while rows are looked for and written: all are found, and what is unique stays so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.data.people import EmailTaken, Human, Letter, born, human, humans
from tests.data.test_personal import trust

from fortress.clock import SystemClock
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.data.entity import shape_of
from fortress.security.principal import SYSTEM
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

Admin = Any
EMAIL = "humans.email_key"


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Human, Letter)


async def announced(database: Database) -> int:
    async with database.unit(SYSTEM) as unit:
        return await database.personal.indexes.announce(unit, EMAIL)


async def activated(database: Database, version: int) -> None:
    async with database.unit(SYSTEM) as unit:
        await database.personal.indexes.activate(unit, EMAIL, version)


async def apart(database: Database, connect: Open) -> tuple[Database, Database]:
    """One that still indexes by the old key, and one that does by the new; both know both."""
    early, late = await connect(), await connect()
    trust(early)
    trust(late)
    version = await announced(database)
    await early.personal.indexes.ready({EMAIL, "humans.name_key"})
    await activated(database, version)
    await late.personal.indexes.ready({EMAIL, "humans.name_key"})
    ann = human("probe@example.com")
    blind = next(blind for blind in _blind() if blind.name == "email_key")
    assert early.personal.indexes.digest(blind, ann.email) != late.personal.indexes.digest(blind, ann.email)
    return early, late


def _blind() -> tuple[Any, ...]:
    personal = shape_of(Human).personal
    assert personal is not None
    return personal.blind


async def test_a_row_is_found_by_whichever_key_it_was_indexed(database: Database, connect: Open) -> None:
    await born(database, old := human("old@example.com"))
    early, late = await apart(database, connect)
    await born(early, between := human("between@example.com"))
    await born(late, new := human("new@example.com"))
    for one in (early, late):
        for person in (old, between, new):
            assert await humans.by_email(one.reader(SYSTEM), email=person.email.upper()) == person


@pytest.mark.parametrize("first", [0, 1])
async def test_what_one_key_has_indexed_another_does_not_index_again(database: Database, connect: Open, first: int) -> None:
    both = await apart(database, connect)
    await born(both[first], human("ann@example.com"))
    with pytest.raises(EmailTaken):
        await born(both[1 - first], human("ANN@example.com"))
    ben = human("ben@example.com")
    await born(both[1 - first], ben)
    with pytest.raises(EmailTaken):
        async with both[1 - first].unit(SYSTEM) as unit:
            await humans.save(unit, msgspec.structs.replace(ben, email="Ann@example.com"))
    async with both[1 - first].unit(SYSTEM) as unit:
        await humans.save(unit, msgspec.structs.replace(ben, points=3))


async def test_of_many_at_once_by_either_key_one_gets_the_address(database: Database, connect: Open) -> None:
    both = await apart(database, connect)
    for number in range(5):
        tries = [born(both[turn % 2], human(f"{number}@example.com")) for turn in range(6)]
        ended = await asyncio.gather(*tries, return_exceptions=True)
        assert sorted(type(one).__name__ for one in ended) == ["EmailTaken"] * 5 + ["NoneType"]


async def test_with_one_key_nothing_is_asked_before_writing(database: Database) -> None:
    trust(database)
    await database.personal.indexes.ready({EMAIL, "humans.name_key"})
    with database.counting() as count:
        await born(database, human())
    assert count.round_trips == 1


async def test_announcing_twice_announces_once(database: Database) -> None:
    assert await announced(database) == 2
    assert await announced(database) == 2


async def test_what_was_retired_is_dropped_and_not_compared_any_more(database: Database, admin: Admin) -> None:
    await born(database, ann := human())
    await activated(database, await announced(database))
    async with database.unit(SYSTEM) as unit:
        await humans.save(unit, msgspec.structs.replace(ann, points=1))
    async with database.unit(SYSTEM) as unit:
        await database.personal.indexes.drop_retired(unit, EMAIL)
    assert [tuple(row) for row in await admin.fetch("SELECT version, state FROM index_keys WHERE purpose = $1", EMAIL)] == [(2, "active")]
    assert (await humans.by_email(database.reader(SYSTEM), email=ann.email)).id == ann.id


async def test_two_who_make_the_first_key_of_an_index_have_one(connect: Open, admin: Admin) -> None:
    several = [await connect() for _ in range(4)]
    await asyncio.gather(*(one.personal.indexes.ready({EMAIL}) for one in several))
    assert await admin.fetchval("SELECT count(*) FROM index_keys") == 1
    (blind,) = [blind for blind in _blind() if blind.purpose == EMAIL]
    assert len({one.personal.indexes.digest(blind, "ann@example.com") for one in several}) == 1


async def test_a_rotation_is_heard_of(database: Database, connect: Open, data_url: str) -> None:
    other = await connect()
    bus = Bus(lambda: asyncpg.connect(data_url), SystemClock())
    other.personal.follow(bus)
    await bus.start()
    try:
        await other.personal.indexes.ready({EMAIL})
        with other.counting() as count:
            await other.personal.indexes.ready({EMAIL})
        assert count.round_trips == 0
        heard = asyncio.Event()
        bus.on("index_keys", lambda _: heard.set())
        await announced(database)
        async with asyncio.timeout(10):
            await heard.wait()
        await other.personal.indexes.ready({EMAIL})
        assert [key.version for key in other.personal.indexes.versions(EMAIL)] == [1, 2]
    finally:
        await bus.stop()


async def test_the_key_of_another_index_is_refused(database: Database, connect: Open, admin: Admin) -> None:
    await born(database, human())
    await admin.execute("UPDATE index_keys a SET wrapped = b.wrapped FROM index_keys b WHERE a.id <> b.id")
    other = await connect()
    with pytest.raises(Unreadable):
        await born(other, human(f"{uuid4()}@example.com"))
    assert other.personal.unreadable == 1
