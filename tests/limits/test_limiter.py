from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from fortress.errors import Unavailable
from fortress.limits.gcra import Rate
from fortress.limits.limiter import Limiter, Verdict
from fortress.limits.memory import MemoryStore
from fortress.limits.policy import Limit, per_minute, per_second, strict
from fortress.limits.store import StoreFull, Taken

ROOMY = per_minute(60_000)
TIGHT = per_minute(20)


class Ticks:
    """A clock in whole microseconds."""

    def __init__(self) -> None:
        self.micros = 1_000_000

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.micros / 1_000_000

    def advance(self, seconds: float) -> None:
        self.micros += round(seconds * 1_000_000)


class Watched:
    """A store that notes what it is asked and can be held up or broken."""

    def __init__(self, clock: Ticks) -> None:
        self.inner = MemoryStore(clock)
        self.asked: list[int] = []
        self.returned: list[int] = []
        self.keys: set[bytes] = set()
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Event()
        self.error: Exception | None = None

    async def take(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
        self.asked.append(wanted)
        self.returned.append(returned)
        self.keys.add(key)
        self.arrived.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.inner.take_now(key, rate, wanted, least, returned)

    async def ping(self) -> None:
        return None

    async def sweep(self) -> int:
        return 0


class Counted:
    def __init__(self) -> None:
        self.round_trips = 0
        self.errors: list[Exception] = []
        self.fallbacks: list[Limit] = []

    def on_round_trip(self, seconds: float, /) -> None:
        self.round_trips += 1

    def on_store_error(self, error: Exception, /) -> None:
        self.errors.append(error)

    def on_fallback(self, limit: Limit, /) -> None:
        self.fallbacks.append(limit)


@pytest.fixture
def clock() -> Ticks:
    return Ticks()


@pytest.fixture
def store(clock: Ticks) -> Watched:
    return Watched(clock)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def limiter(store: Watched, clock: Ticks, counted: Counted) -> Limiter:
    return Limiter(store, clock, 0.05, 1, observer=counted, dice=lambda: 0.0)


async def ask(limiter: Limiter, limit: Limit, key: str = "k") -> Verdict:
    return limiter.spend(limit, key) or await limiter.charge(limit, key)


async def ask_all(limiter: Limiter, limit: Limit, times: int, key: str = "k") -> list[Verdict]:
    return [await ask(limiter, limit, key) for _ in range(times)]


async def test_admits_the_quota_and_not_one_more(limiter: Limiter) -> None:
    verdicts = await ask_all(limiter, TIGHT, 25)
    assert [verdict.allowed for verdict in verdicts] == [True] * 20 + [False] * 5


@pytest.mark.parametrize("limit", [per_minute(100), per_minute(1000), per_minute(5000), strict(per_minute(100))])
async def test_one_worker_admits_exactly_the_quota_with_leases_too(limiter: Limiter, limit: Limit) -> None:
    verdicts = await ask_all(limiter, limit, limit.quota + 50)
    assert [verdict.allowed for verdict in verdicts] == [True] * limit.quota + [False] * 50


async def test_remaining_counts_down_one_by_one_over_leases_and_takes(limiter: Limiter) -> None:
    verdicts = await ask_all(limiter, per_minute(1000), 1000)
    assert [verdict.remaining for verdict in verdicts] == list(range(999, -1, -1))


async def test_far_from_the_limit_the_store_is_hardly_asked(limiter: Limiter, store: Watched, clock: Ticks) -> None:
    for _ in range(2000):
        await ask(limiter, ROOMY)
        clock.advance(0.002)
    assert len(store.asked) <= 2000 * 0.02


async def test_a_caller_below_half_the_limits_pace_is_leased_to_as_well(limiter: Limiter, store: Watched, clock: Ticks) -> None:
    for _ in range(1000):
        await ask(limiter, per_minute(6000))
        clock.advance(0.02)
    assert len(store.asked) <= 1000 * 0.05


async def test_a_lease_answers_without_waiting(limiter: Limiter) -> None:
    await ask_all(limiter, ROOMY, 3)
    verdict = limiter.spend(ROOMY, "k")
    assert verdict is not None
    assert verdict.allowed


async def test_nothing_is_spent_from_a_lease_that_has_ended(limiter: Limiter, clock: Ticks) -> None:
    await ask_all(limiter, ROOMY, 3)
    clock.advance(5)
    assert limiter.spend(ROOMY, "k") is None


async def test_what_a_lease_did_not_spend_is_given_back_with_the_next_call(limiter: Limiter, store: Watched, clock: Ticks) -> None:
    await ask_all(limiter, ROOMY, 4)
    clock.advance(6)
    await ask(limiter, ROOMY)
    assert store.asked == [1, 8, 3]
    assert store.returned == [0, 0, 5]


async def test_what_comes_back_too_late_is_not_given_back(limiter: Limiter, store: Watched, clock: Ticks) -> None:
    await ask_all(limiter, ROOMY, 4)
    clock.advance(60)
    await ask(limiter, ROOMY)
    assert store.returned == [0, 0, 0]


async def test_nothing_is_given_back_twice_when_a_call_fails(limiter: Limiter, store: Watched, clock: Ticks) -> None:
    await ask_all(limiter, ROOMY, 4)
    clock.advance(6)
    store.error = ConnectionError("gone")
    await ask(limiter, ROOMY)
    store.error = None
    clock.advance(6)
    await ask(limiter, ROOMY)
    assert store.returned == [0, 0, 5, 0]


async def test_strict_limits_ask_the_store_for_every_request(limiter: Limiter, store: Watched) -> None:
    await ask_all(limiter, strict(ROOMY), 50)
    assert store.asked == [1] * 50


async def test_keys_and_limits_are_counted_apart(limiter: Limiter, store: Watched) -> None:
    await ask_all(limiter, TIGHT, 20, "one")
    assert (await ask(limiter, TIGHT, "other")).allowed
    assert (await ask(limiter, per_minute(21), "one")).allowed
    assert len(store.keys) == 3


async def test_the_store_never_sees_an_address(limiter: Limiter, store: Watched) -> None:
    await ask(limiter, TIGHT, "orders|4:192.0.2.1")
    (key,) = store.keys
    assert len(key) == 16
    assert b"192" not in key


async def test_workers_with_the_same_pepper_count_together_and_others_apart(store: Watched, clock: Ticks) -> None:
    for pepper in (b"a", b"a", b"b"):
        await Limiter(store, clock, 0.05, 1, pepper=pepper).charge(TIGHT, "k")
    assert len(store.keys) == 2


async def test_a_refusal_is_repeated_without_asking_until_it_could_change(limiter: Limiter, store: Watched, clock: Ticks) -> None:
    await ask_all(limiter, TIGHT, 21)
    asked = len(store.asked)
    clock.advance(0.9)
    assert not any(verdict.allowed for verdict in await ask_all(limiter, TIGHT, 100))
    assert len(store.asked) == asked
    clock.advance(0.2)
    await ask(limiter, TIGHT)
    assert len(store.asked) == asked + 1


async def test_after_retry_after_it_is_allowed_again(limiter: Limiter, clock: Ticks) -> None:
    refusal = (await ask_all(limiter, TIGHT, 21))[-1]
    assert refusal.retry_after == 3
    clock.advance(refusal.retry_after)
    assert (await ask(limiter, TIGHT)).allowed


async def test_headers_say_the_policy_and_the_state(limiter: Limiter, clock: Ticks) -> None:
    verdicts = await ask_all(limiter, TIGHT, 21)
    assert verdicts[0].headers == ((b"ratelimit-policy", b'"default";q=20;w=60'), (b"ratelimit", b'"default";r=19;t=4'))
    assert verdicts[-1].headers == ((b"ratelimit-policy", b'"default";q=20;w=60'), (b"ratelimit", b'"default";r=0;t=3'))
    for verdict in verdicts:
        state = re.fullmatch(rb'"default";r=(\d+);t=(\d+)', verdict.headers[1][1])
        assert state is not None
        assert int(state[1]) == verdict.remaining
        assert int(state[2]) <= 61


async def test_retries_are_spread_and_never_earlier_than_a_token(store: Watched, clock: Ticks) -> None:
    limit = Limit(1, 600)
    late = Limiter(store, clock, 0.05, 1, dice=lambda: 1.0)
    await late.charge(limit, "k")
    assert (await late.charge(limit, "k")).retry_after == 660


async def test_callers_who_come_together_share_one_round_trip(limiter: Limiter, store: Watched) -> None:
    verdicts = await asyncio.gather(*(limiter.charge(TIGHT, "k") for _ in range(30)))
    assert store.asked == [30]
    assert [verdict.allowed for verdict in verdicts] == [True] * 20 + [False] * 10


async def test_those_who_come_during_a_round_trip_share_the_next(limiter: Limiter, store: Watched) -> None:
    store.open.clear()
    first = asyncio.create_task(limiter.charge(strict(ROOMY), "k"))
    await store.arrived.wait()
    later = [asyncio.create_task(limiter.charge(strict(ROOMY), "k")) for _ in range(5)]
    await asyncio.sleep(0)
    store.open.set()
    assert all(verdict.allowed for verdict in await asyncio.gather(first, *later))
    assert store.asked == [1, 5]


async def test_a_caller_who_leaves_takes_nobody_along(limiter: Limiter, store: Watched) -> None:
    store.open.clear()
    leaving = asyncio.create_task(limiter.charge(TIGHT, "k"))
    staying = asyncio.create_task(limiter.charge(TIGHT, "k"))
    await store.arrived.wait()
    leaving.cancel()
    store.open.set()
    assert (await staying).allowed
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_the_tokens_of_callers_who_left_are_not_spent_by_others(limiter: Limiter, store: Watched) -> None:
    store.open.clear()
    leaving = [asyncio.create_task(limiter.charge(TIGHT, "k")) for _ in range(10)]
    await store.arrived.wait()
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    store.open.set()
    verdicts = await ask_all(limiter, TIGHT, 20)
    assert sum(verdict.allowed for verdict in verdicts) == 10


async def test_the_leases_in_memory_are_bounded_and_dropping_one_creates_no_token(store: Watched, clock: Ticks) -> None:
    limiter = Limiter(store, clock, 0.05, 1, max_leases=5)
    limit, admitted = per_minute(100), 0
    for _ in range(130):
        for number in range(7):
            admitted += (await ask(limiter, limit, str(number))).allowed
        assert len(limiter._leases) <= 5
    assert admitted <= 700


async def test_the_plans_in_memory_are_bounded(limiter: Limiter) -> None:
    for quota in range(1, 1500):
        await ask(limiter, per_minute(quota))
    assert len(limiter._plans) <= 1000


async def test_a_store_that_fails_leaves_the_local_share(store: Watched, clock: Ticks, counted: Counted) -> None:
    store.error = ConnectionError("gone")
    limiter = Limiter(store, clock, 0.05, 4, observer=counted)
    verdicts = await ask_all(limiter, per_minute(40), 30)
    assert sum(verdict.allowed for verdict in verdicts) == 10
    assert len(store.asked) == 1
    assert len(counted.errors) == 1
    assert len(counted.fallbacks) == 30


async def test_a_strict_limits_local_share_is_a_quarter_of_that(store: Watched, clock: Ticks) -> None:
    store.error = ConnectionError("gone")
    limiter = Limiter(store, clock, 0.05, 2)
    assert sum(verdict.allowed for verdict in await ask_all(limiter, strict(per_minute(40)), 30)) == 5
    assert sum(verdict.allowed for verdict in await ask_all(limiter, strict(per_minute(3)), 30)) == 1


async def test_a_frozen_store_costs_one_timeout_and_then_nothing(clock: Ticks, store: Watched, counted: Counted) -> None:
    store.open.clear()
    limiter = Limiter(store, clock, 0.02, 1, observer=counted)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await limiter.charge(TIGHT, "k")).allowed
    first = loop.time() - began
    began = loop.time()
    for number in range(200):
        assert (await limiter.charge(TIGHT, str(number))).allowed
    assert 0.015 < first < 0.5
    assert loop.time() - began < 0.2
    assert len(store.asked) == 1
    await limiter.close()


async def test_it_does_not_wait_for_a_driver_that_is_slow_to_be_cancelled(clock: Ticks, counted: Counted) -> None:
    release = asyncio.Event()

    class Stubborn(Watched):
        async def take(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
            try:
                await release.wait()
            finally:
                await release.wait()
            raise ConnectionError

    limiter = Limiter(Stubborn(clock), clock, 0.02, 1, observer=counted)
    async with asyncio.timeout(2):
        assert (await limiter.charge(TIGHT, "k")).allowed
    assert len(counted.errors) == 1
    release.set()
    await limiter.close()


async def test_when_this_process_was_late_itself_the_store_is_not_blamed(store: Watched, counted: Counted) -> None:
    class Real(Ticks):
        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

    limiter = Limiter(store, Real(), 0.05, 1, observer=counted)
    store.open.clear()
    asking = asyncio.create_task(limiter.charge(TIGHT, "k"))
    await store.arrived.wait()
    loop = asyncio.get_running_loop()
    stalled_until = loop.time() + 0.2
    while loop.time() < stalled_until:
        pass
    loop.call_later(0.01, store.open.set)
    assert (await asking).allowed
    assert counted.errors == []


async def test_it_asks_the_store_again_by_itself(store: Watched, clock: Ticks, limiter: Limiter, counted: Counted) -> None:
    store.error = ConnectionError("gone")
    await ask(limiter, TIGHT)
    store.error = None
    clock.advance(0.2)
    await ask(limiter, TIGHT)
    assert counted.round_trips == 1


async def test_what_was_allowed_while_the_store_was_away_is_paid_afterwards(store: Watched, clock: Ticks, limiter: Limiter) -> None:
    store.error = ConnectionError("gone")
    assert all(verdict.allowed for verdict in await ask_all(limiter, TIGHT, 15))
    store.error = None
    clock.advance(0.2)
    verdicts = await ask_all(limiter, TIGHT, 20)
    assert sum(verdict.allowed for verdict in verdicts) == 5


async def test_without_store_and_without_room_it_is_unavailable(store: Watched, clock: Ticks) -> None:
    store.error = ConnectionError("gone")
    limiter = Limiter(store, clock, 0.05, 1, max_local=2)
    for key in ("a", "b"):
        assert (await limiter.charge(TIGHT, key)).allowed
    with pytest.raises(Unavailable) as caught:
        await limiter.charge(TIGHT, "c")
    assert caught.value.headers["retry-after"]
    clock.advance(0.2)
    with pytest.raises(Unavailable):
        await limiter.charge(TIGHT, "d")


async def test_a_full_store_denies_and_is_not_taken_for_a_broken_one(store: Watched, clock: Ticks, counted: Counted) -> None:
    store.error = StoreFull()
    limiter = Limiter(store, clock, 0.05, 1, observer=counted)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await limiter.charge(TIGHT, "k")
    assert len(store.asked) == 2
    assert counted.errors == []


async def test_callers_in_line_behind_a_failing_round_trip_are_decided_locally_at_once(store: Watched, limiter: Limiter) -> None:
    store.open.clear()
    store.error = ConnectionError("gone")
    first = asyncio.create_task(limiter.charge(TIGHT, "k"))
    await store.arrived.wait()
    later = [asyncio.create_task(limiter.charge(TIGHT, "k")) for _ in range(24)]
    await asyncio.sleep(0)
    store.open.set()
    verdicts = await asyncio.gather(first, *later)
    assert sum(verdict.allowed for verdict in verdicts) == 20
    assert len(store.asked) == 1


async def test_an_error_in_the_limiter_itself_is_not_hidden(store: Watched, clock: Ticks) -> None:
    class Broken(Counted):
        def on_round_trip(self, seconds: float, /) -> None:
            raise RuntimeError("metrics are broken")

    limiter = Limiter(store, clock, 0.05, 1, observer=Broken())
    with pytest.raises(RuntimeError, match="metrics"):
        await limiter.charge(TIGHT, "k")


async def test_closing_ends_what_is_under_way(store: Watched, limiter: Limiter) -> None:
    store.open.clear()
    asking = asyncio.create_task(limiter.charge(TIGHT, "k"))
    await store.arrived.wait()
    await limiter.close()
    with pytest.raises(Unavailable):
        await asking
    assert limiter._tasks == set()


async def test_nothing_is_left_behind_when_all_is_answered(limiter: Limiter) -> None:
    await asyncio.gather(*(limiter.charge(per_second(5), str(number % 3)) for number in range(30)))
    await asyncio.sleep(0)
    state: dict[str, Any] = vars(limiter)
    assert not state["_waiting"]
    assert not state["_tasks"]


SPARSE = strict(per_minute(2))


async def test_what_is_given_back_of_a_strict_limit_can_be_spent_again(limiter: Limiter) -> None:
    assert [(await limiter.charge(SPARSE, "a")).allowed for _ in range(3)] == [True, True, False]
    limiter.give_back(SPARSE, "a")
    assert [(await limiter.charge(SPARSE, "a")).allowed for _ in range(2)] == [True, False]


async def test_what_was_allowed_without_the_store_is_given_back_without_it(limiter: Limiter, store: Watched) -> None:
    store.error = OSError()
    limit = strict(per_minute(1))
    assert (await limiter.charge(limit, "a")).allowed
    assert not (await limiter.charge(limit, "a")).allowed
    limiter.give_back(limit, "a")
    assert (await limiter.charge(limit, "a")).allowed


async def test_what_can_not_be_given_back_to_a_store_that_is_away_is_lost(limiter: Limiter, store: Watched) -> None:
    await limiter.charge(SPARSE, "a")
    store.error = OSError()
    limiter.give_back(SPARSE, "a")
    await returned(limiter)
    assert store.returned == [0, 1]
    assert not limiter._returning


async def returned(limiter: Limiter) -> None:
    """Wait until what was given back has gone to the store."""
    returner = limiter._returner
    assert returner is not None
    await returner


async def test_what_is_given_back_goes_with_the_next_charge(limiter: Limiter, store: Watched) -> None:
    for _ in range(20):
        assert (await limiter.charge(SPARSE, "a")).allowed
        limiter.give_back(SPARSE, "a")
    await limiter.charge(SPARSE, "a")
    assert store.returned == [0, *[1] * 20]


async def test_what_is_given_back_and_not_asked_for_goes_back_by_itself(limiter: Limiter, store: Watched) -> None:
    await limiter.charge(SPARSE, "a")
    await limiter.charge(SPARSE, "b")
    for key in "ab":
        limiter.give_back(SPARSE, key)
    await returned(limiter)
    assert store.returned == [0, 0, 1, 1]
    assert [(await limiter.charge(SPARSE, key)).remaining for key in "ab"] == [1, 1]


async def test_leased_tokens_are_not_given_back_one_by_one(limiter: Limiter) -> None:
    with pytest.raises(ValueError, match="strict"):
        limiter.give_back(TIGHT, "a")
