"""Many workers, one store, a clock that the test moves: against the plain algorithm, which knows of no leases."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from fortress.limits import gcra
from fortress.limits.gcra import Bucket, rate_of
from fortress.limits.limiter import Limiter
from fortress.limits.memory import MemoryStore
from fortress.limits.policy import Limit

LIMITS = st.builds(Limit, st.one_of(st.integers(1, 100), st.integers(100, 2000)), st.sampled_from([1, 10, 60, 600]))
TIMEOUT = 0.01
# Worker, requests at once, and the pause before them in thousandths of a window.
VISITS = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 120), st.one_of(st.integers(0, 5), st.integers(0, 300))), max_size=40)


class Micros:
    """A clock in whole microseconds, as the stores count them."""

    def __init__(self) -> None:
        self.at = 10**9

    def monotonic(self) -> float:
        return self.at / 1_000_000

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


class Reference:
    """The limit without leases, told of what was admitted."""

    def __init__(self, limit: Limit) -> None:
        self._rate = rate_of(limit.quota, limit.window)
        self._bucket: Bucket | None = None

    def admits(self, now: int) -> bool:
        step = gcra.take(self._rate, self._bucket, now, 1)
        self._bucket = step.bucket
        return step.granted == 1

    def remaining(self, now: int) -> int:
        used = 0 if self._bucket is None else gcra.used_at(self._rate, self._bucket, now)
        return (self._rate.burst - used) // self._rate.emission


@given(LIMITS, st.integers(1, 8), VISITS)
@settings(max_examples=100, deadline=None)
async def test_workers_together_never_admit_what_the_limit_does_not(limit: Limit, workers: int, visits: list[tuple[int, int, int]]) -> None:
    clock, reference = Micros(), Reference(limit)
    store = MemoryStore(clock)
    limiters = [Limiter(store, clock, TIMEOUT, workers) for _ in range(workers)]
    for worker, requests, pause in visits:
        clock.at += pause * limit.window * 1000
        for _ in range(requests):
            verdict = limiters[worker % workers].spend(limit, "k") or await limiters[worker % workers].charge(limit, "k")
            assert not verdict.allowed or reference.admits(clock.at)


@given(LIMITS, st.integers(1, 8), VISITS)
@settings(max_examples=100, deadline=None)
async def test_nobody_is_refused_while_more_than_a_twentieth_remains(
    limit: Limit, workers: int, visits: list[tuple[int, int, int]]
) -> None:
    clock, reference = Micros(), Reference(limit)
    store = MemoryStore(clock)
    limiters = [Limiter(store, clock, TIMEOUT, workers) for _ in range(workers)]
    for worker, requests, pause in visits:
        clock.at += pause * limit.window * 1000
        for _ in range(requests):
            verdict = limiters[worker % workers].spend(limit, "k") or await limiters[worker % workers].charge(limit, "k")
            if verdict.allowed:
                reference.admits(clock.at)
            else:
                assert reference.remaining(clock.at) <= limit.quota / 20
