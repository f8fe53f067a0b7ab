"""The queue of jobs as a unit writes to it: rows of procrastinate's table, in the commit of what they follow from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from fortress.data.compile import parameter
from fortress.security.permissions import Method, Reach
from fortress.security.principal import Principal

# What the migration makes as procrastinate has it, and what hangs on it.
TABLES: Final = (
    "procrastinate_jobs",
    "procrastinate_events",
    "procrastinate_workers",
    "procrastinate_periodic_defers",
    "job_reports",
    "job_marks",
)
CALLER: Final = "_caller"

_TYPES: Final[dict[str, Any]] = {
    "queue_name": sa.Text(),
    "task_name": sa.Text(),
    "priority": sa.Integer(),
    "lock": sa.Text(),
    "queueing_lock": sa.Text(),
    "args": sa.Text(),
    "scheduled_at": sa.TIMESTAMP(timezone=True),
}
_JOBS: Final = sa.table("procrastinate_jobs", *(sa.column(name) for name in _TYPES), sa.column("status"))


class JobEntry(msgspec.Struct, frozen=True):
    """One job that is to be enqueued.

    Attributes:
        name: of the job; also its queue, so that a worker takes only what its release knows.
        arguments: as JSON, with the caller.
        at: when it may begin; None: at once.
    """

    name: str
    priority: int
    lock: str | None
    key: str | None
    arguments: str
    at: datetime | None


class Caller(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who enqueued a job, as it is kept with it; nothing by which they could be asked in again."""

    id: UUID
    method: Method
    reach: Reach
    session: UUID | None = None
    request: str | None = None

    @property
    def principal(self) -> Principal:
        """Whose doing the job is. What they may do was looked at when they asked, so no grant comes along."""
        return Principal(self.id, self.method, reach=self.reach, session=self.session)


def carried(actor: Principal, request_id: str | None) -> dict[str, Any]:
    """What travels with a job beside its arguments."""
    return {CALLER: Caller(actor.id, actor.method, actor.reach, actor.session, request_id)}


def caller_of(arguments: Mapping[str, Any]) -> Caller | None:
    """Who `carried` wrote; None in a job that nobody enqueued, or that came from elsewhere."""
    kept = arguments.get(CALLER)
    return None if kept is None else msgspec.convert(kept, Caller)


def insertion(condition: Any = None) -> Any:
    """The statement that enqueues any number of jobs, from one array for each column; under a condition, only if it holds.

    A job whose key waits already is left out, and the one that waits is locked until the commit: no worker may begin it before it
    can see what this unit has written. One that begins at the same moment is waited for, and then another one is enqueued.
    """
    arrays = [parameter(f"job_{name}", sa.ARRAY(kind)) for name, kind in _TYPES.items()]
    rows = sa.func.unnest(*arrays).table_valued(*(sa.column(name) for name in _TYPES)).render_derived(name="jobs")
    columns = [sa.cast(rows.c[name], sa.dialects.postgresql.JSONB()) if name == "args" else rows.c[name] for name in _TYPES]
    chosen = sa.select(*columns)
    enqueued = insert(_JOBS).from_select(list(_TYPES), chosen if condition is None else chosen.where(condition))
    return enqueued.on_conflict_do_update(
        index_elements=["queueing_lock"],
        index_where=sa.literal_column("status") == sa.literal_column("'todo'"),
        set_={"queueing_lock": enqueued.excluded.queueing_lock},
        where=sa.literal_column("false"),
    )


def columns(jobs: Sequence[JobEntry]) -> dict[str, Any]:
    """The arrays of `insertion`; of several with one key only the first. Keys in order, so that two units can't wait for each other."""
    kept = _without_twins(sorted(jobs, key=lambda job: job.key or ""))
    return {
        "job_queue_name": [job.name for job in kept],
        "job_task_name": [job.name for job in kept],
        "job_priority": [job.priority for job in kept],
        "job_lock": [job.lock for job in kept],
        "job_queueing_lock": [job.key for job in kept],
        "job_args": [job.arguments for job in kept],
        "job_scheduled_at": [job.at for job in kept],
    }


def _without_twins(jobs: Iterable[JobEntry]) -> list[JobEntry]:
    seen = set[str]()
    kept = []
    for job in jobs:
        if job.key is None or job.key not in seen:
            kept.append(job)
        if job.key is not None:
            seen.add(job.key)
    return kept
