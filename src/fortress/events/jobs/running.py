"""One run of one job: its parameters filled, in the name of whoever enqueued it, within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from fortress import context
from fortress.context import RequestContext
from fortress.data import Database
from fortress.errors import CannotStart, FortressError
from fortress.events.jobs.progress import Once, Progress
from fortress.events.jobs.store import Taken
from fortress.job import Job
from fortress.security.principal import SYSTEM, Principal

T = TypeVar("T")
Provide = Callable[[type[Any]], Any]

_OF_THE_RUN: Final = (Progress, Once, Principal)


class GiveUp(FortressError):
    """Raised by a job that need not be tried again: it is dead at once."""


class Overdue(FortressError):
    """A job has not ended within its time."""


class Runner:
    """Runs the declared jobs.

    Args:
        provide: gives a service by its type; asked for all that the jobs need at once, so that what is missing is said at the start.

    Attributes:
        jobs: by name.

    Raises:
        CannotStart: a scheduled job has a parameter that is no service; or from `provide`, nobody provides what a job needs.
    """

    def __init__(self, jobs: Iterable[Job], provide: Provide, database: Database, monotonic: Callable[[], float]) -> None:
        self.jobs: Mapping[str, Job] = {job.name: job for job in jobs}
        for job in self.jobs.values():
            _refuse_missing(job)
        self._database = database
        self._monotonic = monotonic
        self._services = {job.name: _services(job, provide) for job in self.jobs.values()}
        self._of_the_run = {job.name: _of_the_run(job) for job in self.jobs.values()}

    async def run(self, taken: Taken) -> None:
        """Do the job, as a task of its own.

        Raises:
            KeyError: no such job is declared here.
            Overdue: it took longer than it may.
            Exception: whatever it raises.
        """
        job = self.jobs[taken.name]
        caller = taken.caller
        principal = caller.principal if caller else SYSTEM
        here = RequestContext((caller and caller.request) or f"job-{taken.id}", "", principal)
        here.job = taken.name
        context.current.set(here)
        given = job.given(taken.arguments) | self._services[taken.name] | self._made(taken, principal)
        limit = asyncio.timeout(job.seconds)
        try:
            async with limit:
                await job.run(**given)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Overdue(f"it took longer than {job.seconds:g} s") from None

    def _made(self, taken: Taken, principal: Principal) -> dict[str, Any]:
        made: dict[type[Any], Callable[[], Any]] = {
            Principal: lambda: principal,
            Progress: lambda: Progress(self._database, taken.id, self._monotonic),
            Once: lambda: Once(taken.id),
        }
        return {name: made[kind]() for name, kind in self._of_the_run[taken.name].items()}


def _refuse_missing(job: Job) -> None:
    missing = job.data.keys() - job.optional
    if job.schedule is not None and missing:
        raise CannotStart(f"job {job.name} comes by itself, so nobody gives it {', '.join(sorted(missing))}")


def _services(job: Job, provide: Provide) -> dict[str, Any]:
    return {name: provide(kind) for name, kind in job.services.items() if kind not in _OF_THE_RUN}


def _of_the_run(job: Job) -> dict[str, Any]:
    return {name: kind for name, kind in job.services.items() if kind in _OF_THE_RUN}
