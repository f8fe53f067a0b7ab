"""What a job may ask for beside services: to tell how far it is, and to do a step once although it may run twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fortress.data import Database, Unit

EVERY_SECONDS: Final = 1.0
MESSAGE: Final = 200

_TELL: Final = """
INSERT INTO job_reports (job_id, at, done, total, message)
SELECT id, now(), $2, $3, $4 FROM procrastinate_jobs WHERE id = $1
ON CONFLICT (job_id) DO UPDATE SET at = excluded.at, done = excluded.done, total = excluded.total, message = excluded.message"""
_MARK: Final = "INSERT INTO job_marks (job_id, step) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING job_id"


class Progress:
    """How far a long job is, for `fortress jobs list`. Ask for it as a parameter: `progress: Progress`."""

    def __init__(self, database: Database, job: int, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._job = job
        self._monotonic = monotonic
        self._told = float("-inf")

    async def report(self, done: int, of: int | None = None, message: str = "") -> None:
        """So much is done, of so much. Written at most once a second, so call it as often as you like.

        Args:
            done: in whatever the job counts.
            of: how much there is in all, when that is known.
            message: 200 characters for the operator, without anything personal.
        """
        now = self._monotonic()
        if now - self._told < EVERY_SECONDS and done != of:
            return
        self._told = now
        await self._database.run(_TELL, self._job, done, of, message[:MESSAGE])


class Once:
    """Keeps a job from doing a step a second time, when it runs again. Ask for it as a parameter: `once: Once`.

    async with database.unit(principal) as unit:
        if await once(unit):
            …
    """

    def __init__(self, job: int) -> None:
        self._job = job

    async def __call__(self, unit: Unit, step: str = "") -> bool:
        """True the first time that a unit of this job commits after asking; what else the unit writes is committed with it.

        Args:
            unit: which writes the step's effects.
            step: which of several steps, each of which is done once.

        Raises:
            Conflict: the job is done by now: another worker took it for lost, and was quicker.
        """
        return bool(await unit.run(_MARK, self._job, step))
