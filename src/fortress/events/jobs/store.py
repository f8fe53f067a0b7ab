"""What a worker asks of the queue: procrastinate's tables and states, in statements of our own.

Each is O(log n) in what waits, whatever waits for a time or lies dead beside it. A job belongs to the worker that took it: what it
says of the job counts only while it does, so that one who was thought dead can't end what another has begun again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from fortress.data import Database
from fortress.data.queue import Caller, caller_of
from fortress.errors import Conflict

PROMOTED: Final = 1000
ORPHANS: Final = 100

# What has a lock waits until nothing of that lock runs or comes before it.
_TAKE: Final = """
WITH found AS (
    SELECT jobs.id FROM procrastinate_jobs AS jobs
    WHERE jobs.status = 'todo' AND jobs.scheduled_at IS NULL AND jobs.queue_name = ANY($1::text[])
      AND (jobs.lock IS NULL OR NOT EXISTS (
          SELECT FROM procrastinate_jobs AS other
          WHERE other.lock = jobs.lock AND other.status IN ('todo', 'doing')
            AND (other.status = 'doing' OR (other.priority, -other.id) > (jobs.priority, -jobs.id))))
    ORDER BY jobs.priority DESC, jobs.id LIMIT $3 FOR UPDATE OF jobs SKIP LOCKED
)
UPDATE procrastinate_jobs AS jobs SET status = 'doing', worker_id = $2 FROM found WHERE jobs.id = found.id
RETURNING jobs.id, jobs.task_name, jobs.priority, jobs.attempts, jobs.args"""

_PROMOTE: Final = """
WITH due AS (
    SELECT id FROM procrastinate_jobs WHERE status = 'todo' AND scheduled_at <= $1
    ORDER BY scheduled_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE procrastinate_jobs AS jobs SET scheduled_at = NULL FROM due WHERE jobs.id = due.id RETURNING 1"""

_DONE: Final = "DELETE FROM procrastinate_jobs WHERE id = ANY($1::bigint[]) AND worker_id = $2 AND status = 'doing' RETURNING id"

_MINE: Final = "WHERE id = $1 AND status = 'doing' AND worker_id IS NOT DISTINCT FROM $2"
_REPORT: Final = """
INSERT INTO job_reports (job_id, at, error) SELECT id, now(), $3 FROM ended
ON CONFLICT (job_id) DO UPDATE SET at = excluded.at, error = coalesce(excluded.error, job_reports.error)
RETURNING job_id"""
_AGAIN: Final = f"""
WITH ended AS (
    UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL, attempts = attempts + 1, scheduled_at = $4
    {_MINE} AND NOT abort_requested RETURNING id
){_REPORT}"""  # noqa: S608 (constants only)
_END: Final = f"""
WITH ended AS (
    UPDATE procrastinate_jobs SET status = $4::text::procrastinate_job_status, worker_id = NULL, abort_requested = false,
        attempts = attempts + 1
    {_MINE} RETURNING id
){_REPORT}"""  # noqa: S608
_GIVE_BACK: Final = f"""
UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL, scheduled_at = NULL {_MINE} AND NOT abort_requested
RETURNING id"""  # noqa: S608

_BEAT: Final = """
WITH alive AS (UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = $1 RETURNING id)
SELECT EXISTS (SELECT FROM alive) AS alive,
       ARRAY(SELECT id FROM procrastinate_jobs WHERE worker_id = $1 AND status = 'doing' AND abort_requested) AS aborts"""
_PRUNE: Final = "SELECT * FROM procrastinate_prune_stalled_workers_v1($1)"
_ORPHANS: Final = """
SELECT id, task_name, priority, attempts, args FROM procrastinate_jobs
WHERE status = 'doing' AND worker_id IS NULL ORDER BY id LIMIT $1"""
_LOST: Final = """
SELECT id FROM procrastinate_jobs WHERE worker_id = $1 AND status = 'doing' AND id <> ALL($2::bigint[])"""
_TICK: Final = "SELECT procrastinate_defer_periodic_job_v2($1, NULL, $1, $1, $2, '', $3, '{}'::jsonb) AS id"


class Taken(msgspec.Struct, frozen=True):
    """A job as a worker has taken it.

    Attributes:
        attempts: how often it was begun before and came back.
        arguments: as they were kept; `caller` is who enqueued it, None: nobody.
    """

    id: int
    name: str
    priority: int
    attempts: int
    arguments: dict[str, Any]
    caller: Caller | None


class JobStore:
    """The queue, as workers see it. Each method is one statement, and raises Unavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self) -> int:
        """A new worker's id."""
        (row,) = await self._database.run("SELECT worker_id FROM procrastinate_register_worker_v1()")
        return int(row["worker_id"])

    async def unregister(self, worker: int) -> None:
        """The worker is gone; what it still had is taken back by others."""
        await self._database.run("SELECT procrastinate_unregister_worker_v1($1)", worker)

    async def beat(self, worker: int) -> tuple[bool, list[int]]:
        """Say that the worker lives: whether others still think so, and which of its jobs are to be broken off."""
        (row,) = await self._database.run(_BEAT, worker)
        return bool(row["alive"]), list(row["aborts"])

    async def take(self, worker: int, names: Collection[str], most: int) -> list[Taken]:
        """The next jobs, now this worker's: by priority, then in the order in which they were enqueued."""
        try:
            rows = await self._database.run(_TAKE, list(names), worker, most)
        except Conflict:
            # Another worker has begun a job of the same lock at this moment.
            return []
        return [_taken(row) for row in sorted(rows, key=lambda row: (-row["priority"], row["id"]))]

    async def promote(self, now: datetime) -> int:
        """Let what has waited until now be taken; how many."""
        return len(await self._database.run(_PROMOTE, now, PROMOTED))

    async def done(self, worker: int, ids: Sequence[int]) -> set[int]:
        """These are done, and gone; gives those that were still the worker's."""
        return {row["id"] for row in await self._database.run(_DONE, list(ids), worker)}

    async def again(self, worker: int | None, job: int, at: datetime, error: str) -> bool:
        """It has failed and is tried again at this time; False: it was not the worker's any more.

        A job whose key waits a second time by now is dropped: that one does its work.
        """
        try:
            return bool(await self._database.run(_AGAIN, job, worker, error, at))
        except Conflict:
            return await self.end(worker, job, "cancelled", error)

    async def end(self, worker: int | None, job: int, status: str, error: str | None) -> bool:
        """It ends as `failed`, `aborted` or `cancelled`, and is kept; False: it was not the worker's any more."""
        return bool(await self._database.run(_END, job, worker, error, status))

    async def give_back(self, worker: int, job: int) -> bool:
        """It was not finished, through no fault of its own, and waits again as if it had not been begun."""
        try:
            return bool(await self._database.run(_GIVE_BACK, job, worker))
        except Conflict:
            return await self.end(worker, job, "cancelled", None)

    async def prune(self, seconds: float) -> int:
        """Strike off the workers that have been silent for so long; how many."""
        return len(await self._database.run(_PRUNE, seconds))

    async def orphans(self) -> list[Taken]:
        """Jobs under way whose worker is gone; at most 100 at a time."""
        return [_taken(row) for row in await self._database.run(_ORPHANS, ORPHANS)]

    async def lost(self, worker: int, known: Collection[int]) -> list[int]:
        """Jobs that are this worker's without its knowing, since an answer never came."""
        return [row["id"] for row in await self._database.run(_LOST, worker, list(known))]

    async def tick(self, name: str, priority: int, moment: int) -> bool:
        """Enqueue a scheduled job for this moment (Unix seconds), unless somebody has, or the one before still waits."""
        try:
            (row,) = await self._database.run(_TICK, name, priority, moment)
        except Conflict:
            return False
        return row["id"] is not None


def _taken(row: Any) -> Taken:
    arguments = json.loads(row["args"])
    return Taken(row["id"], row["task_name"], row["priority"], row["attempts"], arguments, caller_of(arguments))
