"""All subscribers at work in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from fortress.clock import Clock
from fortress.data import Database
from fortress.events.following.follower import Follower, Turn
from fortress.events.following.handling import Handling, Provide
from fortress.events.following.herald import EVERYTHING
from fortress.events.following.kinds import FactKinds
from fortress.events.following.log import FactLog, Look
from fortress.events.subscribers import Subscriber
from fortress.retry import backoff
from fortress.security.principal import SYSTEM

LOOK_SECONDS: Final = 1.0
# Even one that hears nothing follows, so that its next look does not begin long ago.
KEEP_UP_SECONDS: Final = 30.0
# What comes sooner after the last pass waits for it, so that facts of a steady stream share their turns.
GAP_SECONDS: Final = 0.03
# While an older transaction holds facts back, one looks whether it has ended, less and less often.
_HELD: Final = backoff(times=64, first=0.004, longest=0.25)
_AWAY: Final = backoff(times=64, first=0.25, longest=5.0)
_log = structlog.get_logger("fortress.subscribers")


def logs_of(subscribers: Iterable[Subscriber], kinds: FactKinds, log: type[FactLog] = FactLog) -> list[FactLog]:
    """The log as each of these subscribers reads it."""
    return [log(one, kinds.heard(one.facts)) for one in subscribers]


async def register(database: Database, logs: Iterable[FactLog]) -> None:
    """Give every subscriber its place in the log, if it has none. Raises Unavailable."""
    for log in logs:
        async with database.unit(SYSTEM) as unit:
            await log.register(unit)


def followers_of(logs: Iterable[FactLog], kinds: FactKinds, provide: Provide, database: Database, clock: Clock) -> list[Follower]:
    """Those who do these subscribers' work.

    Raises:
        CannotStart: a handler can't be called, or nobody provides what it needs.
    """
    return [Follower(log, Handling(log.subscriber, kinds, provide), database, clock) for log in logs]


class Following:
    """One follower for as long as the process lives.

    Args:
        turns: how many may be in the middle of a batch at once in this process.

    Attributes:
        look: what there was to do when it last looked.
    """

    def __init__(self, follower: Follower, database: Database, clock: Clock, turns: asyncio.Semaphore, idle: Callable[[], bool]) -> None:
        self.follower = follower
        self.look = Look(None, None, None)
        self._database = database
        self._clock = clock
        self._turns = turns
        self._idle = idle
        self._woken = asyncio.Event()
        self._followed = self._retried = float("-inf")
        self._held = 0

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Follow until it is time to stop; what is under way is seen through to its end."""
        failures = 0
        while not stopping.is_set():
            try:
                pause = await self._pass(stopping)
                failures = 0
            except Exception as error:
                failures = min(failures + 1, _AWAY.times)
                _log.warning("subscriber.waiting", subscriber=self.follower.name, error=type(error).__name__)
                pause = _AWAY.pause(failures) or 0
            if not stopping.is_set():
                await self._news_within(pause)

    async def _pass(self, stopping: asyncio.Event) -> float:
        """Do what there is to do; how long to wait for news then."""
        if self._idle():
            return LOOK_SECONDS
        if not (self._woken.is_set() or self._held) and not self._worth_a_turn(await self._looked()):
            return LOOK_SECONDS
        await asyncio.sleep(max(0.0, self._followed + GAP_SECONDS - self._clock.monotonic()))
        self._woken.clear()
        turn = Turn(more=True)
        while turn.more and not stopping.is_set():
            async with self._turns:
                turn = await self.follower.turn()
            if await self._retry():
                turn = Turn(more=True)
        self._followed = self._clock.monotonic()
        self._held = min(self._held + 1, _HELD.times) if turn.held else 0
        return _HELD.pause(self._held) or 0 if self._held else LOOK_SECONDS

    async def _looked(self) -> Look:
        self.look = await self.follower.log.look(self._database.reader(SYSTEM))
        return self.look

    def _worth_a_turn(self, look: Look) -> bool:
        due = look.due is not None and look.due <= self._clock.now()
        late = self._clock.monotonic() - self._followed > KEEP_UP_SECONDS
        return look.oldest is not None or due or late

    async def _retry(self) -> bool:
        """Try parked facts again, now and then."""
        now = self._clock.monotonic()
        if now - self._retried < LOOK_SECONDS:
            return False
        more = await self.follower.retry()
        self._retried = float("-inf") if more else now
        return more

    async def _news_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


class Followers:
    """The subscribers of this process: one object to start and to stop.

    Args:
        at_once: batches under way at once.
        grace: seconds that those under way get at the stop.
        draining: whether the process is about to stop, so that nothing more is begun.
    """

    def __init__(
        self,
        followers: Sequence[Follower],
        database: Database,
        clock: Clock,
        *,
        at_once: int,
        grace: float,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        turns = asyncio.Semaphore(at_once)
        self.all = [Following(one, database, clock, turns, draining) for one in followers]
        self._grace = grace
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow."""
        self._tasks = [
            asyncio.create_task(following.run(self._stopping), name=f"subscriber {following.follower.name}") for following in self.all
        ]

    async def stop(self) -> None:
        """Begin nothing more; wait for what is under way, and take back what takes too long."""
        self._stopping.set()
        self.wake()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def wake(self, names: Collection[str] = (EVERYTHING,)) -> None:
        """There are new facts of these names."""
        for following in self.all:
            if EVERYTHING in names or not following.follower.heard.isdisjoint(names):
                following.wake()
