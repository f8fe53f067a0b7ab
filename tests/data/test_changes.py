"""What a commit tells of the rows that it changed."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.data.conftest import Create
from tests.data.things import ME, Part, Thing, parts, thing, things

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Database, change, delete, insert, one, param, select, update
from fortress.data.bus import CHANNEL, MAX_PAYLOAD
from fortress.data.changes import MOST_ROWS, TOPIC, Audience, Changes, News, notices, read_news
from fortress.data.connections import Kept, Traffic
from fortress.data.entity import shape_of
from fortress.data.sources import changed_with, entities_written, only_row, tables_read
from fortress.security import Reach

IDS = TimeOrderedIds(SystemClock())


def told(*tables: str) -> Audience:
    return Audience(tables, lambda _news: None, IDS)


def test_rows_are_told_by_key_until_there_are_too_many() -> None:
    changes = Changes(frozenset({"things"}))
    few = [thing(str(number)) for number in range(MOST_ROWS)]
    changes.added([*few, Part(uuid4(), few[0].id, 1)])
    changes.changed([shape_of(Thing), shape_of(Part)], few[0].id)
    (news,) = told("things").news(changes)
    assert {name: set(rows or ()) for name, rows in news.rows.items()} == {"things": {one.id for one in few}}
    changes.changed([shape_of(Thing)], uuid4())
    assert told("things").news(changes)[0].rows == {"things": None}


def test_nothing_is_told_of_nothing() -> None:
    changes = Changes(frozenset({"things"}))
    changes.changed([shape_of(Part)], None)
    assert told("things").news(changes) == []


def test_more_than_a_notification_holds_is_told_by_table_and_in_parts() -> None:
    class Wide(Changes):
        @property
        def rows(self) -> dict[str, tuple[UUID, ...] | None]:
            return {f"{'t' * 55}{number:05}": tuple(uuid4() for _ in range(10)) for number in range(250)}

    parts = told().news(Wide(frozenset()))
    assert [len(one.rows) for one in parts] == [100, 100, 50]
    assert len({one.id for one in parts}) == 3
    texts = list(notices(parts))
    assert all(len(text.encode()) <= MAX_PAYLOAD for text in texts)
    assert [read_news(text.removeprefix(f"{TOPIC}:")) for text in texts] == parts


async def test_a_notice_rides_on_the_commit_whatever_is_in_it(data_url: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    connection, listener = await asyncpg.connect(data_url), await asyncpg.connect(data_url)
    await listener.add_listener(CHANNEL, lambda *given: heard.put_nowait(str(given[3])))
    traffic = Traffic()
    kept = Kept(connection, traffic)
    odd = "it's; \\'; DROP TABLE things; --"
    await kept.command("BEGIN")
    assert await kept.commit([odd, "second"]) == "COMMIT"
    assert [await asyncio.wait_for(heard.get(), 5) for _ in range(2)] == [odd, "second"]
    assert traffic.round_trips == 2
    await kept.command("BEGIN")
    with pytest.raises(asyncpg.PostgresError):
        await kept.command("SELECT 1/0")
    assert await kept.commit([]) == "ROLLBACK"
    for one_of in (connection, listener):
        await one_of.close()


async def test_who_is_told_here_is_told_after_the_commit_and_only_then(database: Database, create: Create) -> None:
    await create(Thing, Part)
    news: list[News] = []
    database.tell({"things"}, news.append)
    made = thing()

    async def broken_off() -> None:
        async with database.unit(ME) as unit:
            await things.add(unit, made)
            await unit.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken_off()
    assert news == []
    async with database.unit(ME) as unit:
        await things.add(unit, made)
        await unit.flush()
        await things.take(unit, id=made.id, amount=1)
        await parts.add(unit, Part(uuid4(), made.id, 1))
    assert [one.rows for one in news] == [{"things": (made.id,)}]


async def test_who_fails_to_hear_does_not_undo_what_is_committed(database: Database, create: Create) -> None:
    await create(Thing)

    def deaf(_news: News) -> None:
        raise RuntimeError

    database.tell({"things"}, deaf)
    async with database.unit(ME) as unit:
        await things.add(unit, thing())
    assert await things.count(database.reader(ME.reaching(Reach.ANY))) == 1


def test_what_a_statement_reads_and_writes_is_seen_wherever_it_stands() -> None:
    gone = delete(Part).where(Part.c.number == param("number")).returning(Part.c.thing_id).cte("gone")
    writing = update(Thing).where(Thing.c.id == gone.c.thing_id).values(amount=0)
    assert set(entities_written(writing)) == {Thing, Part}
    within = select(Thing).where(Thing.c.id.in_(select(Part.c.thing_id)))
    assert tables_read(within) == tables_read(writing) == frozenset({"things", "parts"})
    assert only_row(within.where(Thing.c.id == param("id"))) is None
    assert only_row(select(Thing).where(Thing.c.id == param("id"), Thing.c.amount > 1)) == ("things", "id")
    assert only_row(update(Thing).where(Thing.c.id == param("id")).values(amount=0)) == ("things", "id")
    assert only_row(insert(Thing).values(id=param("id"))) is None
    assert list(changed_with(Part)) == []


async def test_a_key_that_is_none_is_no_row() -> None:
    by_id = one(select(Thing).where(Thing.c.id == param("id")))
    key = uuid4()
    assert [by_id.row({"id": value}) for value in (key, str(key), "nonsense", None)] == [key, key, None, None]
    assert change(update(Thing).values(amount=0)).row({}) is None
