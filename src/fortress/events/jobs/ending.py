"""How a run ended, told to the queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, Protocol

import structlog

from fortress.clock import Clock
from fortress.errors import FortressError
from fortress.events.jobs.running import GiveUp
from fortress.events.jobs.store import JobStore, Taken
from fortress.job import Job

SAID: Final = 500
_log = structlog.get_logger("fortress.jobs")


class JobObserver(Protocol):
    """Who wants to know how jobs end."""

    def ran(self, name: str, seconds: float) -> None:
        """One try is over, whatever came of it."""
        ...

    def failed(self, name: str) -> None:
        """A try has failed."""
        ...

    def died(self, name: str) -> None:
        """A job will not be tried again."""
        ...


class Endings:
    """Tells the queue of each end. The good ones go together: all that come while the last ones are told are one statement."""

    def __init__(self, store: JobStore, clock: Clock, observer: JobObserver) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._teller: asyncio.Task[None] | None = None

    async def done(self, worker: int, taken: Taken) -> bool:
        """It is done; False when it was somebody else's by then."""
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[taken.id] = told
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell(worker), name="jobs done")
        return await told

    async def failed(self, worker: int | None, taken: Taken, job: Job | None, error: BaseException) -> None:
        """It has failed: tried again after a pause, or dead. Without a `job` nobody here knows it, and it waits for who does."""
        failures = taken.attempts + 1
        pause = 0.0 if job is None else None if isinstance(error, GiveUp) else job.retry.pause(failures)
        if pause is None:
            ours = await self._store.end(worker, taken.id, "failed", described(error))
        else:
            ours = await self._store.again(worker, taken.id, self._clock.now() + timedelta(seconds=pause), described(error))
        if not ours:
            # Somebody else has it, and tells of it.
            return
        told = said(taken) | {"failures": failures, "error": type(error).__name__}
        self._observer.failed(taken.name)
        if pause is None:
            self._observer.died(taken.name)
            _log.error("job.dead", **told, exc_info=error)
        else:
            _log.warning("job.failed", **told, again_in=round(pause, 3), exc_info=error)

    async def _tell(self, worker: int) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                await self._tell_of(worker, batch)
        finally:
            self._teller = None

    async def _tell_of(self, worker: int, batch: dict[int, asyncio.Future[bool]]) -> None:
        try:
            known = await self._store.done(worker, list(batch))
        except Exception as error:
            for told in batch.values():
                if not told.done():
                    told.set_exception(error)
            return
        for id, told in batch.items():
            if not told.done():
                told.set_result(id in known)


def said(taken: Taken) -> dict[str, Any]:
    """What a log line tells of a job."""
    return {"job": taken.name, "id": taken.id, "request_id": taken.caller.request if taken.caller else None}


def described(error: BaseException) -> str:
    """What may be kept of an error: its kind, and the words only when they are ours; others' may repeat what is personal."""
    words = str(error) if isinstance(error, FortressError) else ""
    return f"{type(error).__name__}: {words}"[:SAID] if words else type(error).__name__
