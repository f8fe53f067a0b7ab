"""The worker: every job once its turn has come, and what becomes of those that fail, are cancelled or outlive their worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from fortress import context
from fortress.context import RequestContext
from fortress.data import Database
from fortress.errors import CannotStart, Conflict
from fortress.events import HIGH, LOW, Job, backoff, job
from fortress.events.jobs import GiveUp, JobStore, Once, Progress, Runner
from fortress.events.jobs import worker as module
from fortress.security.permissions import Method
from fortress.security.principal import SYSTEM, Principal

if TYPE_CHECKING:
    from tests.events.jobs.conftest import Counted, Start

Admin = Any
ME = Principal(uuid4(), Method.SESSION)
SOON = backoff(times=2, first=0.01)


class Seen:
    """What jobs have told; a test waits for it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self._more = asyncio.Condition()

    async def tell(self, what: Any) -> None:
        async with self._more:
            self.told.append(what)
            self._more.notify_all()

    async def count(self, wanted: int) -> list[Any]:
        async with asyncio.timeout(20), self._more:
            await self._more.wait_for(lambda: len(self.told) >= wanted)
        return self.told


@pytest.fixture
def seen(services: dict[type[Any], Any]) -> Seen:
    made = services[Seen] = Seen()
    return made


async def enqueue(database: Database, job: Job, **given: Any) -> None:
    async with database.unit(ME) as unit:
        unit.enqueue(job, **given)


async def until(admin: Admin, sql: str, wanted: object) -> None:
    async with asyncio.timeout(20):
        while await admin.fetchval(sql) != wanted:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)


LEFT = "SELECT count(*) FROM procrastinate_jobs"
STATUS = "SELECT status::text FROM procrastinate_jobs"


@job(name="t.tell")
async def tell(what: str, seen: Seen) -> None:
    await seen.tell(what)


async def test_a_job_runs_once_and_is_gone(database: Database, admin: Admin, worker: Start, seen: Seen, counted: Counted) -> None:
    worker(tell).wake()
    await enqueue(database, tell, what="a")
    assert await seen.count(1) == ["a"]
    await until(admin, LEFT, 0)
    assert counted.runs == ["t.tell"]
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_events") == 0


async def test_what_a_job_does_is_in_the_name_and_the_request_of_who_enqueued_it(
    database: Database, admin: Admin, worker: Start, seen: Seen
) -> None:
    @job(name="t.audit")
    async def audit(database: Database, principal: Principal, seen: Seen) -> None:
        async with database.unit(principal) as unit:
            unit.audit("things.done")
            unit.enqueue(tell, what="followed")
        here = context.current.get()
        await seen.tell(here and (here.request_id, here.job))

    token = context.current.set(RequestContext("request-9", "192.0.2.1", ME))
    await enqueue(database, audit)
    context.current.reset(token)
    worker(audit, tell)
    assert set(await seen.count(2)) == {("request-9", "t.audit"), "followed"}
    row = await admin.fetchrow("SELECT actor_id, actor_kind, request_id, address FROM audit_log")
    assert tuple(row) == (ME.id, "session", "request-9", None)


async def test_the_higher_priority_goes_first_and_then_the_older(database: Database, worker: Start, seen: Seen) -> None:
    jobs = [job(name=f"t.{priority.name}", priority=priority)(tell.run) for priority in (LOW, HIGH)]
    for number in range(3):
        for one in (*jobs, tell):
            await enqueue(database, one, what=f"{one.name} {number}")
    worker(tell, *jobs, size=1)
    assert await seen.count(9) == [f"t.{name} {number}" for name in ("HIGH", "tell", "LOW") for number in range(3)]


async def test_jobs_of_one_lock_run_one_after_another_on_any_number_of_workers(database: Database, worker: Start, seen: Seen) -> None:
    @job(name="t.slow", retry=SOON)
    async def slow(number: int, seen: Seen) -> None:
        await seen.tell(("begin", number))
        await asyncio.sleep(0.01)
        if number == 1 and seen.told.count(("begin", 1)) == 1:
            raise RuntimeError("once more")
        await seen.tell(("end", number))

    for number in range(5):
        await enqueue(database, slow.on(lock="shelf"), number=number)
    for _ in range(3):
        worker(slow, size=4)
    told = await seen.count(11)
    whole = [("begin", 0), ("end", 0), ("begin", 1)]
    assert told == whole + [(what, number) for number in range(1, 5) for what in ("begin", "end")]


async def test_a_job_waits_for_its_time(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    await enqueue(database, tell.on(after=timedelta(seconds=0.5)), what="later")
    await enqueue(database, tell.on(at=datetime(2100, 1, 1, tzinfo=UTC)), what="never")
    began = datetime.now(UTC)
    worker(tell)
    assert await seen.count(1) == ["later"]
    assert datetime.now(UTC) - began >= timedelta(seconds=0.4)
    await until(admin, LEFT, 1)


@pytest.mark.parametrize(("error", "tries"), [(RuntimeError("m@example.com"), 3), (GiveUp("no such address"), 1)])
async def test_what_fails_is_tried_again_and_then_kept_dead_without_what_is_personal(
    database: Database, admin: Admin, worker: Start, seen: Seen, counted: Counted, error: Exception, tries: int
) -> None:
    @job(name="t.fails", retry=SOON)
    async def fails(seen: Seen) -> None:
        await seen.tell(1)
        raise error

    await enqueue(database, fails)
    worker(fails)
    await until(admin, STATUS, "failed")
    assert (len(seen.told), len(counted.failures), counted.deaths) == (tries, tries, ["t.fails"])
    kept = await admin.fetchrow("SELECT attempts, worker_id, error FROM procrastinate_jobs JOIN job_reports ON job_id = id")
    assert tuple(kept) == (tries, None, "RuntimeError" if tries == 3 else "GiveUp: no such address")


async def test_a_job_that_takes_too_long_has_failed(database: Database, admin: Admin, worker: Start) -> None:
    @job(name="t.endless", retry=backoff(times=0), seconds=0.05)
    async def endless() -> None:
        await asyncio.Event().wait()

    await enqueue(database, endless)
    worker(endless)
    await until(admin, STATUS, "failed")
    assert await admin.fetchval("SELECT error FROM job_reports") == "Overdue: it took longer than 0.05 s"


async def test_a_timeout_of_the_jobs_own_is_not_taken_for_ours(database: Database, admin: Admin, worker: Start) -> None:
    @job(name="t.waits", retry=backoff(times=0))
    async def waits() -> None:
        raise TimeoutError

    await enqueue(database, waits)
    worker(waits)
    await until(admin, STATUS, "failed")
    assert await admin.fetchval("SELECT error FROM job_reports") == "TimeoutError"


async def test_a_job_that_only_another_release_knows_waits_for_it(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    unknown = job(name="t.unknown", priority=HIGH)(tell.run)
    await enqueue(database, unknown, what="new")
    await enqueue(database, tell, what="old")
    worker(tell)
    assert await seen.count(1) == ["old"]
    await until(admin, LEFT, 1)
    worker(unknown)
    assert await seen.count(2) == ["old", "new"]


async def test_a_worker_that_stops_waits_and_then_gives_back_what_it_has_not_finished(
    database: Database, admin: Admin, worker: Start, seen: Seen
) -> None:
    finish = asyncio.Event()

    @job(name="t.waits")
    async def waits(forever: bool, seen: Seen) -> None:
        await seen.tell("begun")
        await (asyncio.Event() if forever else finish).wait()

    await enqueue(database, waits, forever=True)
    await enqueue(database, waits, forever=False)
    stopped = worker(waits, grace=0.2)
    await seen.count(2)
    asyncio.get_running_loop().call_later(0.02, finish.set)
    await stopped.stop()
    assert [tuple(row) for row in await admin.fetch("SELECT status::text, attempts, worker_id FROM procrastinate_jobs")] == [
        ("todo", 0, None)
    ]
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_workers") == 0


async def test_a_cancelled_job_is_broken_off_and_kept(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    @job(name="t.waits")
    async def waits(seen: Seen) -> None:
        await seen.tell("begun")
        try:
            await asyncio.Event().wait()
        finally:
            await seen.tell("left")

    await enqueue(database, waits)
    running = worker(waits)
    await seen.count(1)
    id = await admin.fetchval("SELECT id FROM procrastinate_jobs")
    running.break_off([id])
    assert await seen.count(2) == ["begun", "left"]
    await until(admin, STATUS, "aborted")


async def test_the_jobs_of_a_worker_that_fell_silent_are_taken_back_and_what_it_says_later_counts_no_more(
    database: Database, admin: Admin, worker: Start, seen: Seen, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.1)
    store = JobStore(database)
    dead = await store.register()
    again = job(name="t.tell", retry=SOON)(tell.run)
    await enqueue(database, again, what="a")
    (taken,) = await store.take(dead, ["t.tell"], 5)
    await admin.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '21 seconds'")
    worker(again)
    assert await seen.count(1) == ["a"]
    assert await store.done(dead, [taken.id]) == set()
    assert not await store.end(dead, taken.id, "failed", None)
    assert not await store.give_back(dead, taken.id)
    await until(admin, LEFT, 0)
    assert counted.failures == ["t.tell"]


async def test_what_kills_every_worker_is_dead_in_the_end(
    database: Database, admin: Admin, worker: Start, seen: Seen, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.1)
    await enqueue(database, tell, what="a")
    await admin.execute("UPDATE procrastinate_jobs SET status = 'doing', attempts = 8")
    worker(tell)
    await until(admin, STATUS, "failed")
    assert counted.deaths == ["t.tell"]
    assert await admin.fetchval("SELECT error FROM job_reports") == "WorkerGone: its worker fell silent"


async def test_a_worker_that_was_struck_off_breaks_off_and_begins_anew(
    database: Database, admin: Admin, worker: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.1)

    @job(name="t.waits", retry=SOON)
    async def waits(seen: Seen) -> None:
        await seen.tell("begun")
        if len(seen.told) == 1:
            await asyncio.Event().wait()

    await enqueue(database, waits)
    worker(waits)
    await seen.count(1)
    await admin.execute("DELETE FROM procrastinate_workers")
    assert await seen.count(2) == ["begun", "begun"]
    await until(admin, LEFT, 0)


async def test_an_answer_that_never_came_is_made_up_for(
    database: Database, admin: Admin, worker: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's end is lost on the way: it is run again, and the worker goes on."""
    done = JobStore.done
    lost = iter([True])

    async def losing(store: JobStore, worker: int, ids: list[int]) -> set[int]:
        if next(lost, False):
            raise ConnectionResetError
        return await done(store, worker, ids)

    monkeypatch.setattr(JobStore, "done", losing)
    await enqueue(database, tell, what="a")
    worker(tell)
    assert await seen.count(2) == ["a", "a"]
    await until(admin, LEFT, 0)


async def test_a_worker_outlives_its_connections(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    worker(tell)
    for number in range(3):
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        await admin.execute(others)
        await admin.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('t.tell', 't.tell', $1)", f'{{"what": "{number}"}}'
        )
        await seen.count(number + 1)
    await until(admin, LEFT, 0)


async def test_a_second_one_of_a_key_that_fails_leaves_its_work_to_the_one_that_waits(
    database: Database, admin: Admin, worker: Start, seen: Seen
) -> None:
    @job(name="t.fails", retry=backoff(times=5, first=0.01))
    async def fails(database: Database, seen: Seen) -> None:
        await seen.tell("begun")
        if len(seen.told) == 1:
            async with database.unit(ME) as unit:
                unit.enqueue(fails.on(key="k"))
            raise RuntimeError("this time")

    await enqueue(database, fails.on(key="k"))
    worker(fails)
    await seen.count(2)
    await until(admin, "SELECT string_agg(status::text, ' ') FROM procrastinate_jobs", "cancelled")


async def test_progress_is_seen_and_written_at_most_once_a_second(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    leave = asyncio.Event()

    @job(name="t.counts")
    async def counts(progress: Progress, seen: Seen) -> None:
        for number in range(100):
            await progress.report(number, of=1000, message="counting")
        await seen.tell("so far")
        await leave.wait()

    await enqueue(database, counts)
    worker(counts)
    await seen.count(1)
    assert tuple(await admin.fetchrow("SELECT done, total, message FROM job_reports")) == (0, 1000, "counting")
    leave.set()
    await until(admin, LEFT, 0)
    assert await admin.fetchval("SELECT count(*) FROM job_reports") == 0


async def test_a_step_is_done_once_although_the_job_runs_twice(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    @job(name="t.steps", retry=SOON)
    async def steps(database: Database, once: Once, seen: Seen) -> None:
        async with database.unit(SYSTEM) as unit:
            if await once(unit, "audit"):
                unit.audit("things.counted")
        await seen.tell("run")
        if len(seen.told) == 1:
            raise RuntimeError("after the commit")

    await enqueue(database, steps)
    worker(steps)
    await seen.count(2)
    await until(admin, LEFT, 0)
    assert await admin.fetchval("SELECT count(*) FROM audit_log") == 1
    with pytest.raises(Conflict):
        async with database.unit(SYSTEM) as unit:
            await Once(1)(unit)


def test_what_a_job_needs_and_nobody_provides_is_said_at_the_start(database: Database) -> None:
    def provide(kind: type[Any]) -> Any:
        raise CannotStart(f"nobody provides {kind.__name__}")

    make: Callable[[Job], Runner] = lambda job: Runner([job], provide, database, lambda: 0.0)  # noqa: E731
    with pytest.raises(CannotStart, match="Seen"):
        make(tell)
    scheduled = Job(tell.run, name="t.cron", retry=SOON, priority=HIGH, seconds=1, schedule="* * * * *")
    with pytest.raises(CannotStart, match="nobody gives it what"):
        make(scheduled)


async def test_two_workers_share_the_work_and_do_nothing_twice(database: Database, admin: Admin, worker: Start, seen: Seen) -> None:
    async with database.unit(ME) as unit:
        for number in range(400):
            unit.enqueue(tell, what=str(number))
    for _ in range(2):
        worker(tell)
    told = await seen.count(400)
    await until(admin, LEFT, 0)
    assert sorted(told, key=int) == [str(number) for number in range(400)]
    assert isinstance(admin, asyncpg.Connection)
