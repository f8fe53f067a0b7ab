"""Somebody who was erased is unreadable everywhere, warm caches included, and nobody else is (ASVS V14.2.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.data.people import Human, Letter, born, human, humans, kept, letter, letters
from tests.data.test_personal import trust

from fortress.clock import FixedClock, SystemClock
from fortress.data import Contended, Database, Erased, PageQuery
from fortress.data.bus import Bus
from fortress.data.personal.belief import MOMENT_SECONDS
from fortress.data.personal.cache import KeyCache, SubjectKeys
from fortress.errors import NotFound
from fortress.security.principal import SYSTEM

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

Admin = Any


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Human, Letter)


async def erase(database: Database, one: Human) -> None:
    async with database.unit(SYSTEM) as unit:
        await database.personal.erase(unit, one.id)


@pytest.fixture
async def hearing(connect: Open, data_url: str) -> AsyncIterator[tuple[Database, Bus]]:
    """A database in another process, as it were, that hears the news."""
    other = await connect()
    bus = Bus(lambda: asyncpg.connect(data_url), SystemClock())
    other.personal.follow(bus)
    await bus.start()
    yield other, bus
    await bus.stop()


async def unread(database: Database, one: Human) -> None:
    reader = database.reader(SYSTEM)
    with pytest.raises(Erased):
        await humans.by_id(reader, id=one.id)
    assert {found.text for found in await letters.all(reader) if found.human_id == one.id} <= {None}


async def test_who_was_erased_is_unreadable_and_nobody_else_is(database: Database, connect: Open, admin: Admin) -> None:
    ann, ben = human(), human("ben@example.com")
    await born(database, ann, ben)
    await kept(database, letter(ann.id), letter(ben.id))
    trust(database)
    await erase(database, ann)
    for one in (database, await connect()):
        await unread(one, ann)
        assert await humans.by_id(one.reader(SYSTEM), id=ben.id) == ben
        assert "dear diary" in {found.text for found in await letters.all(one.reader(SYSTEM))}
    assert await admin.fetchval("SELECT count(*) FROM data_keys WHERE wrapped IS NULL AND destroyed_at IS NOT NULL") == 1


async def test_a_warm_cache_elsewhere_forgets_at_the_news(database: Database, hearing: tuple[Database, Bus]) -> None:
    other, bus = hearing
    ann = human()
    await born(database, ann)
    assert await humans.by_id(other.reader(SYSTEM), id=ann.id) == ann
    heard = asyncio.Event()
    bus.on("erased", lambda _: heard.set())
    await erase(database, ann)
    async with asyncio.timeout(10):
        await heard.wait()
    await unread(other, ann)


async def test_a_silent_bus_is_not_believed_for_longer_than_a_moment(database: Database, connect: Open) -> None:
    clock = FixedClock(SystemClock().now())
    other, ann = await connect(clock=clock), human()
    await born(database, ann)
    reader = other.reader(SYSTEM)
    await humans.by_id(reader, id=ann.id)
    await erase(database, ann)
    clock._ticks += MOMENT_SECONDS / 2
    assert await humans.by_id(reader, id=ann.id) == ann
    clock._ticks += MOMENT_SECONDS
    await unread(other, ann)


async def test_a_lost_bus_empties_the_cache(database: Database, hearing: tuple[Database, Bus]) -> None:
    other, bus = hearing
    await born(database, ann := human())
    await humans.by_id(other.reader(SYSTEM), id=ann.id)
    assert len(other.personal.data._cache) == 1
    bus._doubt()
    assert len(other.personal.data._cache) == 0


async def test_news_that_nobody_understands_empties_the_cache(database: Database) -> None:
    await born(database, human())
    assert len(database.personal.data._cache) == 1
    database.personal.data._heard("somebody")
    assert len(database.personal.data._cache) == 0


async def test_nothing_is_written_about_who_was_erased(database: Database, connect: Open) -> None:
    ann = human()
    await born(database, ann)
    await kept(database, mine := letter(ann.id, None))
    await erase(database, ann)
    for one in (database, await connect()):
        with pytest.raises(Erased):
            await kept(one, letter(ann.id))
        with pytest.raises(Erased):
            async with one.unit(SYSTEM) as unit:
                await letters.save(unit, msgspec.structs.replace(mine, text="again"))
    await kept(database, letter(ann.id, None))


async def test_who_never_had_a_key_gets_none_any_more(database: Database) -> None:
    ann = human()
    await erase(database, ann)
    with pytest.raises(Contended):
        await born(database, ann)
    with pytest.raises(Erased):
        await born(database, ann)
    with pytest.raises(NotFound):
        await humans.by_id(database.reader(SYSTEM), id=ann.id)


async def test_an_erasure_that_was_rolled_back_erases_nothing(database: Database) -> None:
    ann = human()
    await born(database, ann)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error must come within the unit
        async with database.unit(SYSTEM) as unit:
            await database.personal.erase(unit, ann.id)
            raise ZeroDivisionError
    assert await humans.by_id(database.reader(SYSTEM), id=ann.id) == ann


async def test_many_who_ask_for_one_key_ask_once(database: Database, connect: Open) -> None:
    await born(database, *(human(f"{number}@example.com") for number in range(5)))
    other = await connect()
    trust(other)
    with other.counting() as count:
        await asyncio.gather(*(humans.recent(other.reader(SYSTEM), query=PageQuery()) for _ in range(10)))
    assert count.round_trips == 11, "ten pages, and their keys once"


async def test_who_gives_up_does_not_take_the_others_along(database: Database, connect: Open) -> None:
    await born(database, ann := human())
    other = await connect()
    first = asyncio.create_task(other.personal.data.load([ann.id]))
    second = asyncio.create_task(other.personal.data.load([ann.id]))
    await asyncio.sleep(0)
    first.cancel()
    assert list(await second) == [ann.id]
    assert other.personal.data._loading == {}


async def test_a_load_that_began_before_an_erasure_is_not_kept(database: Database, connect: Open) -> None:
    await born(database, ann := human())
    other = await connect()
    load = asyncio.create_task(other.personal.data.load([ann.id]))
    await asyncio.sleep(0)
    other.personal.data.forget(ann.id)
    assert not (await load)[ann.id].destroyed
    assert len(other.personal.data._cache) == 0


def test_a_cache_holds_so_many_and_lets_the_oldest_go() -> None:
    cache, keys = KeyCache(2), SubjectKeys((), destroyed=False)
    one, two, three = uuid4(), uuid4(), uuid4()
    for subject in (one, two):
        cache.put(subject, keys, 1.0, cache.stamp())
    assert cache.get(one, 0.0) is keys
    cache.put(three, keys, 1.0, cache.stamp())
    assert (cache.get(two, 0.0), cache.get(three, 0.0), len(cache)) == (None, keys, 2)
    assert cache.get(three, 1.5) is None, "asked for too long ago"


def test_a_late_load_never_fills_a_cache() -> None:
    cache, keys, subject = KeyCache(2, remembered=1), SubjectKeys((), destroyed=False), uuid4()
    before = cache.stamp()
    cache.forget(subject)
    assert not cache.put(subject, keys, 1.0, before)
    cache.forget(uuid4())
    assert not cache.put(uuid4(), keys, 1.0, before), "whether it was forgotten since is not known any more"
    assert cache.put(subject, keys, 1.0, cache.stamp())
    before = cache.stamp()
    cache.clear()
    assert not cache.put(subject, keys, 1.0, before)
    with pytest.raises(ValueError, match="room"):
        KeyCache(0)
