"""Jobs as a unit enqueues them: in its commit or not at all, at no round trip of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from fortress.context import RequestContext, current
from fortress.data import Database
from fortress.data.queue import caller_of
from fortress.errors import TooLarge
from fortress.events import HIGH, job
from fortress.security.permissions import Method, Reach
from fortress.security.principal import Principal

Admin = Any
ME = Principal(uuid4(), Method.SESSION, grants=7, session=uuid4())


@job(priority=HIGH, name="things.note")
async def note(thing_id: UUID, words: str = "") -> None: ...


@pytest.fixture
def request_context() -> Iterator[RequestContext]:
    made = RequestContext("request-1", "192.0.2.7", ME)
    token = current.set(made)
    yield made
    current.reset(token)


async def queued(admin: Admin) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await admin.fetch("SELECT * FROM procrastinate_jobs ORDER BY id")
    return rows


async def test_a_job_goes_out_with_everything_else_in_one_round_trip(
    database: Database, admin: Admin, request_context: RequestContext
) -> None:
    thing_id = uuid4()
    with database.counting() as count:
        async with database.unit(ME) as unit:
            unit.audit("things.made", target=thing_id)
            unit.enqueue(note, thing_id=thing_id, words="so")
            unit.notify("things:made")
    assert count.round_trips == 1
    (row,) = await queued(admin)
    assert (row["queue_name"], row["task_name"], row["priority"], row["status"]) == ("things.note", "things.note", 50, "todo")
    assert (row["lock"], row["queueing_lock"], row["scheduled_at"]) == (None, None, None)
    arguments = json.loads(row["args"])
    caller = caller_of(arguments)
    assert note.given(arguments) == {"thing_id": thing_id, "words": "so"}
    assert caller is not None
    assert (caller.request, caller.principal) == ("request-1", Principal(ME.id, Method.SESSION, reach=Reach.OWN, session=ME.session))


async def test_a_job_of_what_was_rolled_back_is_never_seen(database: Database, admin: Admin) -> None:
    async def enqueue_and_fail() -> None:
        async with database.unit(ME) as unit:
            unit.enqueue(note, thing_id=uuid4())
            await unit.flush()
            raise RuntimeError("after all not")

    with pytest.raises(RuntimeError, match="after all not"):
        await enqueue_and_fail()
    assert await queued(admin) == []


async def test_many_jobs_are_one_round_trip_and_keep_their_order(database: Database, admin: Admin) -> None:
    ids = [uuid4() for _ in range(300)]
    with database.counting() as count:
        async with database.unit(ME) as unit:
            for id in ids:
                unit.enqueue(note, thing_id=id)
    assert count.round_trips == 1
    assert [json.loads(row["args"])["thing_id"] for row in await queued(admin)] == [str(id) for id in ids]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, TypeError),
        ({"thing_id": "no id"}, msgspec.ValidationError),
        ({"thing_id": UUID(int=1), "other": 1}, TypeError),
        ({"thing_id": UUID(int=1), "words": "x" * 20_000}, TooLarge),
    ],
)
async def test_wrong_arguments_are_refused_at_once(
    database: Database, admin: Admin, given: dict[str, Any], wanted: type[Exception]
) -> None:
    async with database.unit(ME) as unit:
        with pytest.raises(wanted):
            unit.enqueue(note, **given)
    assert await queued(admin) == []


async def test_terms_say_when_in_which_order_and_how_often(database: Database, admin: Admin) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    async with database.unit(ME) as unit:
        unit.enqueue(note.on(at=at, lock="shelf"), thing_id=uuid4())
        unit.enqueue(note.on(after=timedelta(hours=1)), thing_id=uuid4())
    first, second = await queued(admin)
    assert (first["scheduled_at"], first["lock"]) == (at, "shelf")
    assert timedelta(minutes=59) < second["scheduled_at"] - datetime.now(UTC) < timedelta(minutes=61)


async def test_while_one_of_a_key_waits_another_is_not_enqueued_and_nothing_else_is_lost(database: Database, admin: Admin) -> None:
    once = note.on(key="shelf 1")
    for _ in range(2):
        async with database.unit(ME) as unit:
            unit.enqueue(once, thing_id=uuid4())
            unit.enqueue(once, thing_id=uuid4())
            unit.enqueue(note, thing_id=uuid4())
            unit.audit("things.counted")
    assert [row["queueing_lock"] for row in await queued(admin)].count("shelf 1") == 1
    assert len(await queued(admin)) == 3
    assert await admin.fetchval("SELECT count(*) FROM audit_log") == 2
    await admin.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE queueing_lock IS NOT NULL")
    async with database.unit(ME) as unit:
        unit.enqueue(once, thing_id=uuid4())
    assert len(await queued(admin)) == 4


async def test_the_one_that_waits_is_not_begun_before_the_other_unit_can_be_seen(database: Database, admin: Admin) -> None:
    once = note.on(key="shelf 1")
    async with database.unit(ME) as unit:
        unit.enqueue(once, thing_id=uuid4())
    free = "SELECT id FROM procrastinate_jobs FOR UPDATE SKIP LOCKED"
    async with database.unit(ME) as unit:
        unit.enqueue(once, thing_id=uuid4())
        await unit.flush()
        assert await admin.fetch(free) == []
    assert len(await admin.fetch(free)) == 1


async def test_one_that_is_being_begun_is_waited_for_and_then_followed_by_another(database: Database, jobs_url: str, admin: Admin) -> None:
    once = note.on(key="shelf 1")
    async with database.unit(ME) as unit:
        unit.enqueue(once, thing_id=uuid4())

    async def enqueue() -> None:
        async with database.unit(ME) as unit:
            unit.enqueue(once, thing_id=uuid4())

    async with admin.transaction():
        await admin.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        waiting = asyncio.create_task(enqueue())
        watcher = await asyncpg.connect(jobs_url)
        while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)
        await watcher.close()
    await waiting
    assert [row["status"] for row in await queued(admin)] == ["doing", "todo"]


async def test_units_that_enqueue_the_same_keys_in_any_order_do_not_wait_for_each_other(database: Database, admin: Admin) -> None:
    keys = [f"shelf {number}" for number in range(20)]

    async def enqueue(order: list[str]) -> None:
        async with database.unit(ME) as unit:
            for key in order:
                unit.enqueue(note.on(key=key), thing_id=uuid4())

    for _ in range(5):
        await asyncio.gather(enqueue(keys), enqueue(keys[::-1]), enqueue(keys[10:] + keys[:10]))
    assert len(await queued(admin)) == 20
