"""The operator's view of the jobs: what there is, and what is to be tried again or cancelled."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from fortress.data import Database
from fortress.data.queue import CALLER, Caller, caller_of
from fortress.errors import Conflict, NotFound
from fortress.security.principal import SYSTEM

MOST_LISTED: Final = 1000
REVIVED: Final = 500


class JobState(StrEnum):
    """Where a job is. WAITING: it may begin; DELAYED: not before its time; DEAD: it is not tried again; CANCELLED: nobody wants it."""

    WAITING = "waiting"
    DELAYED = "delayed"
    RUNNING = "running"
    DEAD = "dead"
    CANCELLED = "cancelled"


class JobLine(msgspec.Struct, frozen=True):
    """One job.

    Attributes:
        declared: False when no domain of this release has a job of this name; it waits for one that does.
        at: when it may begin, of a delayed one.
        done, total, message: what it has told of its progress.
        error: how its last try failed.
    """

    id: int
    name: str
    state: JobState
    declared: bool
    priority: int
    attempts: int
    enqueued_at: datetime | None
    at: datetime | None
    lock: str | None
    key: str | None
    done: int | None
    total: int | None
    message: str | None
    error: str | None


class JobEvent(msgspec.Struct, frozen=True):
    """Something that has happened to a job, in procrastinate's words."""

    at: datetime
    what: str


class JobDetail(msgspec.Struct, frozen=True):
    """All that is known of one job."""

    job: JobLine
    arguments: dict[str, Any]
    caller: Caller | None
    history: tuple[JobEvent, ...]


class JobCount(msgspec.Struct, frozen=True):
    """The jobs of one name, and for how many seconds the oldest that may begin has waited."""

    name: str
    declared: bool
    waiting: int
    delayed: int
    running: int
    dead: int
    cancelled: int
    oldest: float | None


class NoSuchJob(NotFound):
    """There is no such job; what was done is gone."""

    code, title = "jobs.not_found", "There is no such job; what is done is gone"


class NotRevivable(Conflict):
    """It is neither dead nor cancelled, or another one with its key waits."""

    code, title = "jobs.not_revivable", "It is neither dead nor cancelled, or another one with its key waits"


_STATE: Final = """
CASE jobs.status WHEN 'todo' THEN CASE WHEN jobs.scheduled_at > now() THEN 'delayed' ELSE 'waiting' END
    WHEN 'doing' THEN 'running' WHEN 'failed' THEN 'dead' ELSE 'cancelled' END"""
_WHERE: Final = {
    JobState.WAITING: "jobs.status = 'todo' AND (jobs.scheduled_at IS NULL OR jobs.scheduled_at <= now())",
    JobState.DELAYED: "jobs.status = 'todo' AND jobs.scheduled_at > now()",
    JobState.RUNNING: "jobs.status = 'doing'",
    JobState.DEAD: "jobs.status = 'failed'",
    JobState.CANCELLED: "jobs.status NOT IN ('todo', 'doing', 'failed')",
    None: "true",
}
_LINES: Final = f"""
SELECT jobs.id, jobs.task_name, {_STATE} AS state, jobs.priority, jobs.attempts, jobs.scheduled_at, jobs.lock, jobs.queueing_lock,
       jobs.args, reports.done, reports.total, reports.message, reports.error,
       (SELECT min(at) FROM procrastinate_events WHERE job_id = jobs.id AND type = 'deferred') AS enqueued_at
FROM procrastinate_jobs AS jobs LEFT JOIN job_reports AS reports ON reports.job_id = jobs.id"""  # noqa: S608 (constants only)
_ONE: Final = f"{_LINES} WHERE jobs.id = $1"
_HISTORY: Final = "SELECT at, type::text AS what FROM procrastinate_events WHERE job_id = $1 ORDER BY id LIMIT 1000"
_COUNTED: Final = ", ".join(f"count(*) FILTER (WHERE state = '{state}') AS {state}" for state in JobState)
_COUNTS: Final = f"""
WITH counted AS (
    SELECT task_name, {_COUNTED}, min(id) FILTER (WHERE state = 'waiting') AS first
    FROM (SELECT id, task_name, {_STATE} AS state FROM procrastinate_jobs AS jobs) AS jobs GROUP BY task_name
)
SELECT counted.*, (SELECT extract(epoch FROM now() - max(at))::float8 FROM procrastinate_events WHERE job_id = first) AS oldest
FROM counted"""  # noqa: S608
# Of several dead ones with one key only the first may wait again, and none while another waits.
_REVIVE: Final = """
WITH chosen AS (
    SELECT DISTINCT ON (coalesce(queueing_lock, id::text)) id FROM procrastinate_jobs AS jobs
    WHERE {where} AND (queueing_lock IS NULL OR NOT EXISTS (
        SELECT FROM procrastinate_jobs AS other WHERE other.queueing_lock = jobs.queueing_lock AND other.status = 'todo'))
    ORDER BY coalesce(queueing_lock, id::text), id LIMIT {most}
)
UPDATE procrastinate_jobs AS jobs SET status = 'todo', attempts = 0, scheduled_at = NULL, abort_requested = false, worker_id = NULL
FROM chosen WHERE jobs.id = chosen.id RETURNING jobs.id"""
_REVIVE_ONE: Final = _REVIVE.format(where="id = $1 AND status NOT IN ('todo', 'doing')", most=1)
_REVIVE_DEAD: Final = _REVIVE.format(where="status = 'failed' AND ($1::text IS NULL OR task_name = $1)", most=REVIVED)
_CANCEL: Final = "SELECT procrastinate_cancel_job_v1($1, true, false) AS id"


class JobDesk:
    """Looks at the queue and has a hand in it; what it changes is in the audit log.

    Args:
        names: of the jobs that this release declares.
    """

    def __init__(self, database: Database, names: Collection[str]) -> None:
        self._database = database
        self._names = frozenset(names)

    async def list(self, state: JobState | None = None, name: str | None = None, most: int = 50) -> Sequence[JobLine]:
        """The newest jobs, of one state and name where these are given; at most 1000."""
        sql = f"{_LINES} WHERE {_WHERE[state]} AND ($1::text IS NULL OR jobs.task_name = $1) ORDER BY jobs.id DESC LIMIT $2"
        rows = await self._database.run(sql, name, min(most, MOST_LISTED))
        return [self._line(row) for row in rows]

    async def show(self, id: int) -> JobDetail:
        """One job. Raises NoSuchJob."""
        row = await self._database.fetchrow(_ONE, id)
        if row is None:
            raise NoSuchJob
        arguments = json.loads(row["args"])
        caller = caller_of(arguments)
        arguments.pop(CALLER, None)
        history = await self._database.run(_HISTORY, id)
        return JobDetail(self._line(row), arguments, caller, tuple(JobEvent(event["at"], event["what"]) for event in history))

    async def stats(self) -> Sequence[JobCount]:
        """What there is of each job, the declared ones first. Reads all that waits or is kept."""
        found = {row["task_name"]: row for row in await self._database.run(_COUNTS)}
        names = [*sorted(self._names), *sorted(found.keys() - self._names)]
        return [self._count(name, found.get(name)) for name in names]

    async def retry(self, id: int) -> None:
        """Have a dead or cancelled job tried again, as often as a new one.

        Raises:
            NoSuchJob: it isn't there.
            NotRevivable: it waits or runs, or another one with its key waits.
        """
        async with self._database.unit(SYSTEM) as unit:
            if not await unit.run(_REVIVE_ONE, id):
                raise NotRevivable if await unit.run("SELECT FROM procrastinate_jobs WHERE id = $1", id) else NoSuchJob
            unit.audit("jobs.retried", target=id)

    async def retry_dead(self, name: str | None = None) -> int:
        """Have all dead jobs, of one name where it is given, tried again; how many. What has a key that waits already stays dead."""
        whole = 0
        while True:
            async with self._database.unit(SYSTEM) as unit:
                revived = len(await unit.run(_REVIVE_DEAD, name))
                if revived:
                    unit.audit("jobs.retried", target=name, detail={"jobs": revived})
            whole += revived
            if revived < REVIVED:
                return whole

    async def cancel(self, id: int) -> JobState:
        """Cancel a job that waits, or ask for the end of one that runs; gives what it was. Raises NoSuchJob."""
        async with self._database.unit(SYSTEM) as unit:
            before = (await self.show(id)).job.state
            (row,) = await unit.run(_CANCEL, id)
            if row["id"] is not None:
                unit.audit("jobs.cancelled", target=id)
        return before

    def _line(self, row: Any) -> JobLine:
        state, name = JobState(row["state"]), row["task_name"]
        return JobLine(
            id=row["id"],
            name=name,
            state=state,
            declared=name in self._names,
            priority=row["priority"],
            attempts=row["attempts"],
            enqueued_at=row["enqueued_at"],
            at=row["scheduled_at"] if state is JobState.DELAYED else None,
            lock=row["lock"],
            key=row["queueing_lock"],
            done=row["done"],
            total=row["total"],
            message=row["message"],
            error=row["error"],
        )

    def _count(self, name: str, row: Any) -> JobCount:
        counts = {state.value: row[state.value] if row else 0 for state in JobState}
        return JobCount(name=name, declared=name in self._names, **counts, oldest=row["oldest"] if row else None)
