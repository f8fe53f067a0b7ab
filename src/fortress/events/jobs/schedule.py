"""Scheduled jobs: each time is enqueued once, by whichever worker comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog
from croniter import croniter

from fortress.clock import Clock
from fortress.events.jobs.store import JobStore
from fortress.job import Job

# So that a restart in the wrong moment misses nothing.
LOOK_BACK: Final = timedelta(minutes=1)
# The machine's clock may be set meanwhile.
_LONGEST_SLEEP: Final = 30.0
_log = structlog.get_logger("fortress.jobs")


class Schedule:
    """Enqueues what is due. The database knows which times have had their job, so any number of processes may do this at once."""

    def __init__(self, store: JobStore, jobs: Iterable[Job], clock: Clock) -> None:
        self._store = store
        self._jobs = {job.name: job for job in jobs if job.schedule is not None}
        self._clock = clock
        self._since = dict.fromkeys(self._jobs, clock.now() - LOOK_BACK)

    async def run(self) -> None:
        """Until it is cancelled."""
        while self._jobs:
            now = self._clock.now()
            for job in self._jobs.values():
                await self._tick(job, now)
            wait = min(_after(job, now) for job in self._jobs.values()) - now
            await asyncio.sleep(min(wait.total_seconds(), _LONGEST_SLEEP))

    async def _tick(self, job: Job, now: datetime) -> None:
        """Enqueue the job for its latest time since it was looked at; what lies before that is not made up for."""
        moment = latest(job, now)
        if moment <= self._since[job.name]:
            return
        try:
            made = await self._store.tick(job.name, int(job.priority), int(moment.timestamp()))
        except Exception as error:
            # Tried again at the next look, for as long as it is the latest.
            _log.warning("jobs.unavailable", error=type(error).__name__)
            return
        self._since[job.name] = moment
        if made:
            _log.info("job.scheduled", job=job.name, moment=moment.isoformat())


def latest(job: Job, now: datetime) -> datetime:
    """The last time at or before now."""
    found: datetime = croniter(job.schedule, now + timedelta(microseconds=1)).get_prev(datetime)
    return found


def _after(job: Job, now: datetime) -> datetime:
    found: datetime = croniter(job.schedule, now).get_next(datetime)
    return found
