"""Crash tests: a real server under load dies at a named place or at a random moment, and comes back; again and again.

    run = CrashRun(server_process, place_order, aggregates=products)
    for seed in crash_seeds:
        await run.crash(seed, "after_commit_before_answer:kill@hit=3")
    await run.recover(how_much_is_left)
    assert compare(run.attempts, [Trace("orders", ...), Trace("facts", ...)]) == []

What clients were told is kept in `attempts`, over all lives of the server; `fortress.testing.crash_traces` compares it with
what is there at the end. docs/guide-crash-tests.md shows a whole test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Final, TypeVar

import msgspec

from fortress.testing.client import Reply
from fortress.testing.crash_traces import Attempt, Outcome
from fortress.testing.live import LiveClient, Wire
from fortress.testing.processes import DidNotStart, ServerProcess

T = TypeVar("T")

WRITERS: Final = 4
OPERATIONS: Final = 60
PATIENCE: Final = 60.0
# How long a life may last.
LONGEST: Final = 300.0
# How long background work may take to come to its failpoint once all clients have gone.
LATE: Final = 5.0
_POLL: Final = 0.05


class Operation(msgspec.Struct, frozen=True):
    """What a client shall do.

    Attributes:
        number: unlike any other's in this run; leave it in everything that the operation writes.
        aggregate: what to do it to.
        chance: between 0 and 1, the same again for the same seed: for variety, such as some that must be refused.
    """

    number: int
    aggregate: str
    chance: float


Act = Callable[[LiveClient, Operation], Awaitable[Reply]]
Left = Callable[[], Awaitable[int]]


class CrashRun:
    """The lives of one server on one database, and what its clients were told.

    Args:
        server: not started yet; on one worker, so that its death is the server's.
        act: sends one operation, and gives the answer.
        aggregates: what operations are done to; several clients share each, few make for more meetings.
        writers: clients at once.

    Attributes:
        attempts: every operation so far.
        fired: how often a failpoint ended the server before we did.
    """

    def __init__(self, server: ServerProcess, act: Act, *, aggregates: Sequence[str], writers: int = WRITERS) -> None:
        self.attempts: list[Attempt] = []
        self.fired = 0
        self._server = server
        self._act = act
        self._aggregates = aggregates
        self._writers = writers
        self._ticks = count(1)
        self._over = asyncio.Event()

    async def prepare(self, work: Callable[[LiveClient], Awaitable[T]]) -> T:
        """One life without a crash, for what must be there before the others: people, products. Gives what the work gives."""
        self._server.settings["failpoint"] = ""
        await asyncio.to_thread(self._server.start)
        async with LiveClient(self._server.port) as client:
            done = await work(client)
        await asyncio.to_thread(self._server.stop)
        return done

    async def crash(self, seed: int, failpoint: str = "", *, operations: int = OPERATIONS) -> None:
        """One life: start, work, die.

        With a failpoint it dies there, or once the operations are through and the failpoint was not reached; without one
        by SIGKILL to all its processes, right after an answer that the seed chooses.

        Args:
            seed: what is done in which order is drawn from it.
            failpoint: as FORTRESS_FAILPOINT says it; to be one that kills.
            operations: at most so many in this life.
        """
        chances = Random(seed)
        self._over.clear()
        self._server.settings |= {"failpoint": failpoint, "header_timeout": LONGEST}
        try:
            await asyncio.to_thread(self._server.start)
            async with self._watch():
                await self._load(chances, operations, last=operations if failpoint else chances.randint(1, operations))
                if failpoint:
                    await self._death(LATE)
                    # One that died before it was ready has been followed by another one.
                    self.fired += self._over.is_set() or self._server.lost_workers() > 0
        except DidNotStart:
            if not failpoint:
                raise
            self.fired += 1
        finally:
            await asyncio.to_thread(self._server.kill9)

    async def endure(self, seed: int, trouble: Callable[[], Awaitable[object]]) -> None:
        """Load on the server, which runs already, while something else fails: its database, a broker, another server.

        Ends when all is well again for every client: each has got a 2xx to an operation that it began after the trouble.

        Args:
            seed: what is done in which order is drawn from it.
            trouble: begins and ends it.

        Raises:
            TimeoutError: that took longer than LONGEST.
        """
        chances, over = Random(seed), asyncio.Event()

        async def write(mine: Random) -> None:
            async with LiveClient(self._server.port) as client:
                served = False
                while not served:
                    afterwards = over.is_set()
                    outcome = outcome_of(await self._attempt(client, mine))
                    served = afterwards and outcome is Outcome.ACKNOWLEDGED
                    if outcome is Outcome.UNKNOWN:
                        await asyncio.sleep(_POLL)

        async with asyncio.timeout(LONGEST), asyncio.TaskGroup() as group:
            for _ in range(self._writers):
                group.create_task(write(Random(chances.random())))
            await trouble()
            over.set()

    async def recover(self, left: Left, seconds: float = PATIENCE) -> None:
        """Start it unharmed, and wait as `settle` does. It runs on."""
        self._server.settings["failpoint"] = ""
        await asyncio.to_thread(self._server.start)
        await self.settle(left, seconds)

    async def settle(self, left: Left, seconds: float = PATIENCE) -> None:
        """Wait until nothing is left to do.

        Args:
            left: how much still waits to be done: facts not handled, jobs not run.
            seconds: in which that must be.

        Raises:
            AssertionError: something is left after that.
        """
        until = time.monotonic() + seconds
        while waiting := await left():
            assert time.monotonic() < until, f"{waiting} still wait after {seconds} s"
            await asyncio.sleep(_POLL)

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[None]:
        """A connection over which nothing is said: it is closed when the process at its other end dies, and then it is over."""
        async with await Wire.open(self._server.port) as wire:
            watching = asyncio.create_task(wire.rest(LONGEST))
            watching.add_done_callback(lambda _: self._over.set())
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    async def _death(self, seconds: float) -> None:
        """Wait for it, but no longer than this."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    async def _load(self, chances: Random, operations: int, *, last: int) -> None:
        """All clients, until it is over or the operations are through; of fewer answers the last one is SIGKILL's moment."""
        left, answers = iter(range(operations)), count(1)

        async def write(mine: Random) -> None:
            async with LiveClient(self._server.port) as client:
                for _ in left:
                    if self._over.is_set():
                        return
                    if await self._attempt(client, mine) is None:
                        # On one worker there is nobody else who could answer.
                        self._over.set()
                    elif next(answers) == last < operations:
                        self._server.kill9()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._writers):
                group.create_task(write(Random(chances.random())))

    async def _attempt(self, client: LiveClient, chances: Random) -> Reply | None:
        """One operation, and its answer; None when none came."""
        number = len(self.attempts) + 1
        operation = Operation(number, chances.choice(self._aggregates), chances.random())
        attempt = Attempt(number, operation.aggregate, next(self._ticks))
        self.attempts.append(attempt)
        reply: Reply | None = None
        with suppress(OSError, TimeoutError):
            reply = await self._act(client, operation)
        attempt.outcome = outcome_of(reply)
        if attempt.outcome is not Outcome.UNKNOWN:
            attempt.ended = next(self._ticks)
        return reply


def outcome_of(reply: Reply | None) -> Outcome:
    """What an answer says of the operation: 2xx, it is done; 4xx, it is not; 5xx or none, nobody knows."""
    if reply is None or reply.status >= 500:
        return Outcome.UNKNOWN
    return Outcome.ACKNOWLEDGED if reply.status < 300 else Outcome.REFUSED
