"""Jobs in tests: what was enqueued, and all of it done to the end, one after another, in the test's own task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fortress.clock import Clock
from fortress.data import Database
from fortress.events.jobs import JobStore, Runner
from fortress.events.jobs.ending import described
from fortress.job import Job

if TYPE_CHECKING:
    from fortress.bootstrap.container import Container

MOST: Final = 10_000
_WAITING: Final = """
SELECT task_name, args, scheduled_at IS NOT NULL AS delayed FROM procrastinate_jobs
WHERE status = 'todo' ORDER BY priority DESC, id"""


class WaitingJob(msgspec.Struct, frozen=True):
    """A job that was enqueued and has not run. `delayed`: not before its time."""

    name: str
    arguments: dict[str, Any]
    delayed: bool = False


class Jobs:
    """The jobs of a test.

    Args:
        declared: those of the app.
        find: gives the container of what is tested; asked when it is needed.
    """

    def __init__(self, declared: Sequence[Job], find: Callable[[], Container]) -> None:
        self._declared = {job.name: job for job in declared}
        self._find = find

    async def waiting(self) -> list[WaitingJob]:
        """What was enqueued and has not run, in the order in which it would."""
        rows = await self._find().get(Database).run(_WAITING)
        return [WaitingJob(row["task_name"], self._given(row), row["delayed"]) for row in rows]

    async def settle(self, ahead: timedelta = timedelta(0)) -> int:
        """Run what waits, and what that enqueues, until nothing is left; how many ran.

        Args:
            ahead: also run what waits for a time that comes within this.

        Raises:
            Exception: what a job raises, at once; it is dead then.
            AssertionError: 10,000 jobs ran and still more wait.
        """
        container = self._find()
        database, clock = container.get(Database), container.get(Clock)
        store, runner = JobStore(database), Runner(self._declared.values(), container.get, database, clock.monotonic)
        worker = await store.register()
        try:
            for ran in range(MOST):
                await store.promote(clock.now() + ahead)
                if not await _next(store, runner, worker):
                    return ran
        finally:
            await store.unregister(worker)
        raise AssertionError(f"{MOST} jobs ran, and still more wait")

    def _given(self, row: Any) -> dict[str, Any]:
        arguments = json.loads(row["args"])
        job = self._declared.get(row["task_name"])
        return job.given(arguments) if job else arguments


async def _next(store: JobStore, runner: Runner, worker: int) -> bool:
    """Run the next job; False when there is none."""
    found = await store.take(worker, tuple(runner.jobs), 1)
    for taken in found:
        try:
            # A task, so that what the run sets for itself is not left behind.
            await asyncio.create_task(runner.run(taken))
        except Exception as error:
            await store.end(worker, taken.id, "failed", described(error))
            raise
        await store.done(worker, [taken.id])
    return bool(found)
