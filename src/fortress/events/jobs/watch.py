"""What is to be seen of the jobs: how many wait and since when, how long they run, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from fortress.data import Database
from fortress.telemetry.instruments import Counter, Histogram, Merge
from fortress.telemetry.metrics import Metrics

WATCH_SECONDS: Final = 15.0
# Counted no further: an alarm is raised long before.
MOST_COUNTED: Final = 100_000
RUN_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_log = structlog.get_logger("fortress.jobs")

_STATES: Final = {
    "waiting": "status = 'todo' AND scheduled_at IS NULL",
    "delayed": "status = 'todo' AND scheduled_at IS NOT NULL",
    "running": "status = 'doing'",
    "dead": "status = 'failed'",
}
_COUNTS: Final = ", ".join(
    f"(SELECT count(*) FROM (SELECT FROM procrastinate_jobs WHERE {where} LIMIT {MOST_COUNTED}) AS counted) AS {state}"  # noqa: S608
    for state, where in _STATES.items()
)
# Since it may begin: what waited for a time does so since then, everything else since it was enqueued.
_OLDEST: Final = """
coalesce((
    SELECT extract(epoch FROM now() - max(events.at)) FROM procrastinate_events AS events
    WHERE events.job_id = (SELECT min(id) FROM procrastinate_jobs WHERE status = 'todo' AND scheduled_at IS NULL)
), 0)::float8 AS oldest"""
_LOOK: Final = f"SELECT {_COUNTS}, {_OLDEST}"


class JobMetrics:
    """Counts how jobs end; one series for each declared job."""

    def __init__(self, metrics: Metrics, names: Iterable[str]) -> None:
        self._metrics = metrics
        names = list(names)
        self._seconds: dict[str, Histogram] = {
            name: metrics.histogram("job_seconds", "How long one try of a job took.", RUN_BOUNDS, {"job": name}) for name in names
        }
        self._failed = self._counters("job_failures_total", "Tries of a job that failed.", names)
        self._died = self._counters("job_deaths_total", "Jobs that will not be tried again.", names)

    def ran(self, name: str, seconds: float) -> None:
        """One try is over."""
        self._seconds[name].observe(seconds)

    def failed(self, name: str) -> None:
        """A try has failed; one that is known to other releases only is not counted."""
        if name in self._failed:
            self._failed[name].add()

    def died(self, name: str) -> None:
        """A job will not be tried again."""
        if name in self._died:
            self._died[name].add()

    def _counters(self, name: str, about: str, jobs: list[str]) -> dict[str, Counter]:
        return {job: self._metrics.counter(name, about, {"job": job}) for job in jobs}


class QueueWatch:
    """Shows the queue, which all processes see alike."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._states = {state: metrics.gauge("jobs", "Jobs by state.", {"state": state}, Merge.MAX) for state in _STATES}
        self._oldest = metrics.gauge("jobs_oldest_seconds", "How long the oldest job has waited that may begin.", merge=Merge.MAX)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                _log.warning("jobs.unavailable", error=type(error).__name__)
            await asyncio.sleep(WATCH_SECONDS)

    async def look(self) -> None:
        """Bring what is shown up to date."""
        (row,) = await self._database.run(_LOOK)
        for state, gauge in self._states.items():
            gauge.set(row[state])
        self._oldest.set(row["oldest"])
