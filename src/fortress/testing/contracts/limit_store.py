"""What every LimitStore must do.

    class TestMyStore(LimitStoreContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[LimitStore]: ...

A store with a clock that a test can move also gives the fixture `wait`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fortress.limits.gcra import Rate, rate_of
from fortress.limits.store import LimitStore

Wait = Callable[[float], Awaitable[None]]

# An emission of two minutes: no token comes back while a test runs.
SLOW: Final = rate_of(30, 3600)
# An emission of 10 ms.
FAST: Final = rate_of(100, 1)
DEMANDS: Final = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)).map(lambda pair: (max(pair), min(pair))), max_size=12)
# Each example has a key of its own, so neither the store nor the subclass that it is tried on is shared.
OWN_KEYS: Final = (HealthCheck.function_scoped_fixture, HealthCheck.differing_executors)


def new_key() -> bytes:
    """A key that no other test uses."""
    return secrets.token_bytes(16)


class LimitStoreContract:
    """Subclasses give the fixture `store`."""

    @pytest.fixture
    def wait(self) -> Wait:
        return asyncio.sleep

    async def test_a_new_key_has_its_whole_quota_and_not_one_more(self, store: LimitStore) -> None:
        key = new_key()
        first = await store.take(key, SLOW, SLOW.quota)
        second = await store.take(key, SLOW, 1)
        assert (first.granted, first.remaining, first.retry_after) == (30, 0, 0)
        assert (second.granted, second.remaining) == (0, 0)

    async def test_gives_as_many_as_there_are(self, store: LimitStore) -> None:
        key = new_key()
        await store.take(key, SLOW, 25)
        assert (await store.take(key, SLOW, 25)).granted == 5

    async def test_gives_none_when_fewer_than_the_least_are_there_and_debits_nothing(self, store: LimitStore) -> None:
        key = new_key()
        await store.take(key, SLOW, 25)
        refused = await store.take(key, SLOW, 10, 6)
        assert (refused.granted, refused.remaining) == (0, 5)
        assert (await store.take(key, SLOW, 10, 5)).granted == 5

    async def test_gives_none_of_a_quota_that_is_smaller_than_the_least(self, store: LimitStore) -> None:
        assert (await store.take(new_key(), SLOW, 40, 31)).granted == 0

    async def test_keys_are_counted_apart(self, store: LimitStore) -> None:
        one, other = new_key(), new_key()
        await store.take(one, SLOW, SLOW.quota)
        assert (await store.take(other, SLOW, 1)).remaining == SLOW.quota - 1

    async def test_tokens_come_back_one_emission_after_the_other(self, store: LimitStore, wait: Wait) -> None:
        key = new_key()
        began = time.monotonic()
        await store.take(key, FAST, FAST.quota)
        await wait(0.1)
        granted = (await store.take(key, FAST, FAST.quota)).granted
        assert 10 <= granted <= 10 + (time.monotonic() - began) * 100

    async def test_a_refusal_says_when_to_come_back_and_means_it(self, store: LimitStore, wait: Wait) -> None:
        key, rate = new_key(), rate_of(10, 1)
        emptied = await store.take(key, rate, 10)
        refused = await store.take(key, rate, 1)
        assert refused.granted == 0
        assert 0 < refused.retry_after <= 0.1
        assert refused.retry_after < refused.reset_after <= emptied.reset_after == 1
        await wait(refused.retry_after + 0.001)
        assert (await store.take(key, rate, 1)).granted == 1

    async def test_what_may_still_be_in_somebodys_hand_does_not_come_back(self, store: LimitStore, wait: Wait) -> None:
        key, rate = new_key(), Rate(FAST.emission, FAST.quota, held=5, life=60_000_000)
        await store.take(key, rate, 5)
        await wait(0.2)
        assert (await store.take(key, rate, FAST.quota)).granted == 95

    async def test_what_was_in_somebodys_hand_comes_back_when_the_lease_has_ended(self, store: LimitStore, wait: Wait) -> None:
        key, rate = new_key(), Rate(FAST.emission, FAST.quota, held=5, life=100_000)
        await store.take(key, rate, 5)
        await wait(0.2)
        assert (await store.take(key, rate, FAST.quota)).granted == 100

    async def test_what_is_given_back_can_be_taken_again(self, store: LimitStore) -> None:
        key, rate = new_key(), Rate(SLOW.emission, SLOW.quota, held=5, life=60_000_000)
        await store.take(key, rate, 25)
        assert (await store.take(key, rate, 30, returned=4)).granted == 9

    async def test_what_is_given_back_too_late_is_lost(self, store: LimitStore, wait: Wait) -> None:
        key, rate = new_key(), Rate(SLOW.emission, SLOW.quota, held=5, life=50_000)
        await store.take(key, rate, 25)
        await wait(0.1)
        assert (await store.take(key, rate, 30, returned=4)).granted == 5

    async def test_giving_back_more_than_was_taken_does_not_make_a_bucket_more_than_full(self, store: LimitStore) -> None:
        key, rate = new_key(), Rate(SLOW.emission, SLOW.quota, held=5, life=60_000_000)
        await store.take(key, rate, 2)
        assert (await store.take(key, rate, 50, returned=40)).granted == SLOW.quota

    async def test_who_wants_none_only_gives_back(self, store: LimitStore) -> None:
        key, rate = new_key(), Rate(SLOW.emission, SLOW.quota, held=0, life=60_000_000)
        await store.take(key, SLOW, 25)
        assert (await store.take(key, rate, 0, 0, returned=4)).granted == 0
        assert (await store.take(key, SLOW, 30)).granted == 9
        assert (await store.take(key, rate, 0, 0, returned=1)).remaining == 1
        assert (await store.take(key, SLOW, 1)).granted == 1

    async def test_giving_back_to_a_key_that_nobody_has_taken_from_changes_nothing(self, store: LimitStore) -> None:
        key, rate = new_key(), Rate(SLOW.emission, SLOW.quota, held=0, life=60_000_000)
        await store.take(key, rate, 0, 0, returned=3)
        assert (await store.take(key, SLOW, 40)).granted == SLOW.quota

    async def test_parallel_takes_get_the_quota_and_not_one_more(self, store: LimitStore) -> None:
        key = new_key()
        taken = await asyncio.gather(*(store.take(key, SLOW, 1 + turn % 3) for turn in range(60)))
        assert sum(answer.granted for answer in taken) == SLOW.quota

    async def test_a_key_may_be_any_bytes(self, store: LimitStore) -> None:
        key = b"\x00:%\xff\n" + new_key()
        await store.take(key, SLOW, 2)
        assert (await store.take(key, SLOW, 1)).remaining == SLOW.quota - 3

    @pytest.mark.parametrize(("wanted", "least", "returned"), [(0, 0, 0), (1, 0, 0), (1, 2, 0), (-1, -1, 0), (1, 1, -1)])
    async def test_a_demand_that_makes_no_sense_is_an_error(self, store: LimitStore, wanted: int, least: int, returned: int) -> None:
        with pytest.raises(ValueError, match="at least one token"):
            await store.take(new_key(), SLOW, wanted, least, returned)

    async def test_answers_a_ping(self, store: LimitStore) -> None:
        await store.ping()

    async def test_sweeping_forgets_no_live_key(self, store: LimitStore) -> None:
        key = new_key()
        await store.take(key, SLOW, SLOW.quota)
        while await store.sweep():
            pass
        assert (await store.take(key, SLOW, 1)).granted == 0

    @given(DEMANDS)
    @settings(max_examples=30, deadline=None, suppress_health_check=OWN_KEYS)
    async def test_any_sequence_of_takes_is_counted_as_by_hand(self, store: LimitStore, demands: list[tuple[int, int]]) -> None:
        key, left = new_key(), SLOW.quota
        for wanted, least in demands:
            expected = min(wanted, left) if left >= least else 0
            left -= expected
            answer = await store.take(key, SLOW, wanted, least)
            assert (answer.granted, answer.remaining) == (expected, left)
