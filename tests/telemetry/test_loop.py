"""The watch on the event loop: what blocks it is named; what only waits is not. On asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from fortress.clock import Clock, SystemClock
from fortress.telemetry.loop import BEAT_SECONDS, BLOCKED_SECONDS, Blocked, LoopWatch
from fortress.telemetry.metrics import Metrics

Work = Callable[[], Awaitable[object]]


class Watched:
    """Runs work on a loop of one kind, under watch."""

    def __init__(self, make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._make_loop = make_loop
        self.metrics = Metrics()
        self.reports: list[Blocked] = []

    def run(self, work: Work, clock: Clock | None = None) -> list[Blocked]:
        with asyncio.Runner(loop_factory=self._make_loop) as runner:
            runner.run(self._watch(work, clock or SystemClock()))
        return self.reports

    def value(self, name: str) -> float:
        lines = self.metrics.render()[0].decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    async def _watch(self, work: Work, clock: Clock) -> None:
        watch = LoopWatch(self.metrics, clock, self.reports.append)
        watch.start()
        try:
            await asyncio.sleep(2 * BEAT_SECONDS)
            await work()
        finally:
            watch.stop()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def watched(request: pytest.FixtureRequest) -> Watched:
    return Watched(request.param)


async def hold_up_the_loop() -> None:
    time.sleep(3 * BLOCKED_SECONDS)
    await asyncio.sleep(2 * BEAT_SECONDS)


async def only_wait() -> None:
    await asyncio.sleep(3 * BLOCKED_SECONDS)


def test_a_blocking_call_is_reported_once_with_its_stack(watched: Watched) -> None:
    (report,) = watched.run(hold_up_the_loop)
    assert report.stack[-1].endswith(" hold_up_the_loop")
    assert report.seconds >= BLOCKED_SECONDS
    assert watched.value("fortress_loop_blocked_total") == 1


def test_each_new_blocking_call_is_reported(watched: Watched) -> None:
    async def twice() -> None:
        await hold_up_the_loop()
        await hold_up_the_loop()

    assert len(watched.run(twice)) == 2


def test_waiting_without_blocking_is_not_reported(watched: Watched) -> None:
    assert watched.run(only_wait) == []


def test_the_lag_is_measured(watched: Watched) -> None:
    watched.run(hold_up_the_loop)
    assert watched.value("fortress_loop_lag_seconds_sum") >= BLOCKED_SECONDS


def test_a_starved_loop_that_waits_for_events_is_not_reported(watched: Watched) -> None:
    class Leaping(SystemClock):
        """As if the machine gave the process no time: every look at the clock finds a second gone."""

        def __init__(self) -> None:
            self._now = 0.0

        def monotonic(self) -> float:
            self._now += 1.0
            return self._now

    assert watched.run(only_wait, Leaping()) == []
