"""The worker: takes jobs as it has room, runs them side by side, and says of each how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
import structlog

from fortress.clock import Clock
from fortress.errors import FortressError
from fortress.events.jobs.ending import Endings, JobObserver, said
from fortress.events.jobs.running import Runner
from fortress.events.jobs.store import JobStore, Taken

BEAT_SECONDS: Final = 5.0
STALLED_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 1.0
# Each new job wakes every process; those that come too late for it wait a moment before they look again.
LATE_SECONDS: Final = 0.01
# What a job gets to clean up after itself when it is broken off.
LEAVING_SECONDS: Final = 5.0
_LONGEST_PAUSE: Final = 5.0
_log = structlog.get_logger("fortress.jobs")


class WorkerGone(FortressError):
    """The worker that ran it fell silent."""


class Running(msgspec.Struct):
    """A job under way. `reason` says why it was broken off: `stop`, `abort` or `lost`; empty: it was not. `over`: it has ended."""

    taken: Taken
    task: asyncio.Task[None]
    reason: str = ""
    over: bool = False


class Worker:
    """Works until it is stopped, whatever becomes of the database meanwhile.

    A worker that was silent for STALLED_SECONDS is struck off by the others, within BEAT_SECONDS more, and its jobs are taken back:
    so a killed process' jobs wait again after 25 seconds at most.

    Args:
        size: jobs at once.
        grace: seconds that jobs under way get at the stop; what is not done then is given back.
        draining: whether the process is about to stop, so that nothing more is begun.
    """

    def __init__(
        self,
        store: JobStore,
        runner: Runner,
        clock: Clock,
        observer: JobObserver,
        *,
        size: int,
        grace: float,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._observer = observer
        self._size = size
        self._grace = grace
        self._draining = draining
        self._endings = Endings(store, clock, observer)
        self._names = tuple(runner.jobs)
        self._running: dict[int, Running] = {}
        self._id: int | None = None
        self._doubtful = False
        self._news = asyncio.Event()
        self._stopping = False
        self._looked = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """Jobs under way."""
        return len(self._running)

    def start(self) -> None:
        """Begin to work."""
        loops = (self._keep_taking, self._keep_beating)
        self._tasks = [asyncio.create_task(loop(), name=f"jobs{loop.__name__}") for loop in loops]

    async def stop(self) -> None:
        """Begin nothing more; wait for what is under way, and give back what takes too long."""
        taking, beating = self._tasks
        self._stopping = True
        self._news.set()
        # Seen through to its end: what is being taken is known then.
        await asyncio.wait([taking])
        under_way = [one.task for one in self._running.values()]
        if under_way:
            await asyncio.wait(under_way, timeout=self._grace)
        self._break_off(list(self._running), "stop")
        await asyncio.gather(*(one.task for one in self._running.values()), return_exceptions=True)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        if self._id is not None:
            await _tried(self._store.unregister(self._id))
            self._id = None

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    def break_off(self, ids: Iterable[int]) -> None:
        """Somebody asked for these to be cancelled."""
        self._break_off(ids, "abort")

    async def _keep_taking(self) -> None:
        pause = 0.1
        while not self._stopping:
            try:
                await self._turn()
                pause = 0.1
            except Exception as error:
                self._doubtful = True
                _log.warning("jobs.unavailable", error=type(error).__name__)
                await self._news_within(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the workers, hides nothing
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _turn(self) -> None:
        """Begin what there is room for, then wait for news."""
        # First of all: what comes while the rest goes on, a stop too, is not to be missed.
        self._news.clear()
        worker = await self._registered()
        if self._clock.monotonic() - self._looked >= LOOK_SECONDS:
            await self._store.promote(self._clock.now())
            self._looked = self._clock.monotonic()
        room = 0 if self._stopping or self._draining() else self._size - len(self._running)
        found = await self._store.take(worker, self._names, room) if room and self._names else []
        for taken in found:
            self._begin(worker, taken)
        if room and not found:
            await asyncio.sleep(LATE_SECONDS * random.random())  # noqa: S311 - spreads the processes, hides nothing
        if len(found) < room or not room:
            await self._news_within(LOOK_SECONDS)

    async def _registered(self) -> int:
        """This worker's id; what it lost sight of is given back first."""
        if self._id is None:
            self._id = await self._store.register()
        if self._doubtful:
            for job in await self._store.lost(self._id, list(self._running)):
                await self._store.give_back(self._id, job)
            self._doubtful = False
        return self._id

    async def _news_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            self._looked = float("-inf")

    def _begin(self, worker: int, taken: Taken) -> None:
        task = asyncio.create_task(self._work(worker, taken), name=f"job {taken.name} {taken.id}")
        self._running[taken.id] = Running(taken, task)
        task.add_done_callback(lambda _: self._over(taken.id))

    def _over(self, id: int) -> None:
        del self._running[id]
        self._news.set()

    async def _work(self, worker: int, taken: Taken) -> None:
        """One job, and its end; an end that could not be told makes the worker look for what it lost."""
        began = self._clock.monotonic()
        run = asyncio.create_task(self._runner.run(taken), name=f"run {taken.name}")
        error = await self._outcome(run)
        self._running[taken.id].over = True
        try:
            await self._told(worker, taken, error, began)
        except Exception as error:
            self._doubtful = True
            _log.warning("job.untold", job=taken.name, id=taken.id, error=type(error).__name__)

    async def _outcome(self, run: asyncio.Task[None]) -> BaseException | None:
        """How the run ended. Its task is the run's own, so that a cancellation of it is told from one of ours."""
        try:
            await asyncio.wait([run])
        except asyncio.CancelledError:
            run.cancel()
            await asyncio.wait([run], timeout=LEAVING_SECONDS)
        if not run.done() or run.cancelled():
            return asyncio.CancelledError()
        return run.exception()

    async def _told(self, worker: int, taken: Taken, error: BaseException | None, began: float) -> None:
        seconds = self._clock.monotonic() - began
        self._observer.ran(taken.name, seconds)
        reason = self._running[taken.id].reason
        if error is None:
            known = await self._endings.done(worker, taken)
            _log.info("job.done", **said(taken), ms=round(seconds * 1000, 1), ours=known)
        elif isinstance(error, asyncio.CancelledError) and reason:
            await self._broken_off(worker, taken, reason)
        else:
            await self._endings.failed(worker, taken, self._runner.jobs[taken.name], error)

    async def _broken_off(self, worker: int, taken: Taken, reason: str) -> None:
        _log.info("job.broken_off", **said(taken), reason=reason)
        if reason == "stop":
            await self._store.give_back(worker, taken.id)
        elif reason == "abort":
            await self._store.end(worker, taken.id, "aborted", None)

    def _break_off(self, ids: Iterable[int], reason: str) -> None:
        for id in ids:
            one = self._running.get(id)
            if one is not None and not one.reason and not one.over:
                one.reason = reason
                one.task.cancel()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await _tried(self._beat())

    async def _beat(self) -> None:
        if self._id is None:
            return
        alive, aborts = await self._store.beat(self._id)
        if not alive:
            _log.error("jobs.struck_off", running=len(self._running))
            self._id = None
            self._break_off(list(self._running), "lost")
        self._break_off(aborts, "abort")
        await self._store.prune(STALLED_SECONDS)
        for orphan in await self._store.orphans():
            await self._endings.failed(None, orphan, self._runner.jobs.get(orphan.name), WorkerGone("its worker fell silent"))
        self._news.set()


async def _tried(work: Awaitable[None]) -> None:
    """What may fail now, since it comes again, or since others do it."""
    try:
        await work
    except Exception as error:
        _log.warning("jobs.unavailable", error=type(error).__name__)
