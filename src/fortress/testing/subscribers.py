"""Subscribers in tests: all that has happened is heard to the end, in the test's own task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fortress.clock import Clock
from fortress.data import Database
from fortress.events import Subscriber
from fortress.events.following import FactKinds, FactLog, logs_of, register
from fortress.events.following.follower import Follower, Tried
from fortress.events.following.handling import Handling, Unhandled
from fortress.events.following.log import Lanes, Place
from fortress.testing.rollback import RolledBackDatabase

if TYPE_CHECKING:
    from fortress.bootstrap.container import Container

MOST: Final = 10_000
HELD_SECONDS: Final = 5.0


class OpenLog(FactLog):
    """The log inside a transaction that never commits: everything that can be seen can be heard."""

    horizon = "'9223372036854775807'::xid8"

    def end(self, lanes: Lanes, last: Place | None) -> Place:
        """Behind the last fact: more may come in the same transaction."""
        return last or lanes.lowest


class _Raising(Follower):
    async def _failed(self, tried: Tried, error: Exception) -> None:
        del tried
        raise error.__cause__ if isinstance(error, Unhandled) and error.__cause__ else error


class Subscribers:
    """The subscribers of a test.

    Args:
        declared: those of the app.
        kinds: the facts of the app.
        find: gives the container of what is tested; asked when it is needed.
    """

    def __init__(self, declared: list[Subscriber], kinds: FactKinds, find: Callable[[], Container]) -> None:
        self._declared = declared
        self._kinds = kinds
        self._find = find

    async def begin(self) -> None:
        """From now on facts are heard; what happened before is not, unless the subscriber hears it from the start."""
        await register(self._find().get(Database), self._logs())

    async def settle(self) -> int:
        """Hear what has happened, and what follows from it, until nothing is left; how much was heard.

        Raises:
            Exception: what a handler raises, at once; nothing of its batch is kept.
            AssertionError: 10,000 batches were heard, and still more comes; or another transaction was left open.
        """
        followers = self._followers()
        for _ in range(MOST):
            before = sum(one.handled for one in followers)
            for one in followers:
                await _follow(one)
            if sum(one.handled for one in followers) == before:
                return before
        raise AssertionError(f"{MOST} batches were heard, and still more comes")

    def _logs(self) -> list[FactLog]:
        rolled_back = isinstance(self._find().get(Database), RolledBackDatabase)
        return logs_of(self._declared, self._kinds, OpenLog if rolled_back else FactLog)

    def _followers(self) -> list[Follower]:
        container = self._find()
        database, clock = container.get(Database), container.get(Clock)
        return [_Raising(log, Handling(log.subscriber, self._kinds, container.get), database, clock) for log in self._logs()]


async def _follow(follower: Follower) -> None:
    """One subscriber to the end of the log. Raises AssertionError when a transaction that was left open holds it back."""
    try:
        async with asyncio.timeout(HELD_SECONDS) as limit:
            turn = await follower.turn()
            while turn.more or turn.held:
                if not turn.held:
                    limit.reschedule(asyncio.get_running_loop().time() + HELD_SECONDS)
                await asyncio.sleep(0.002 if turn.held else 0)
                turn = await asyncio.create_task(follower.turn())
    except TimeoutError:
        raise AssertionError("a transaction was left open, and facts wait for it to end") from None
