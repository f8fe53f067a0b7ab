from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fortress.clock import FixedClock
from fortress.limits.gcra import rate_of
from fortress.limits.memory import MemoryStore
from fortress.limits.store import StoreFull
from fortress.testing.contracts.limit_store import LimitStoreContract, Wait

MINUTE = rate_of(60, 60)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


class TestMemoryStore(LimitStoreContract):
    @pytest.fixture
    def store(self, clock: FixedClock) -> MemoryStore:
        return MemoryStore(clock)

    @pytest.fixture
    def wait(self, clock: FixedClock) -> Wait:
        async def advance(seconds: float) -> None:
            clock.advance(timedelta(seconds=seconds))

        return advance


def test_a_full_map_denies_new_keys_and_keeps_the_live_ones(clock: FixedClock) -> None:
    store = MemoryStore(clock, max_keys=3)
    for key in (b"a", b"b", b"c"):
        store.take_now(key, MINUTE, 60)
    with pytest.raises(StoreFull):
        store.take_now(b"d", MINUTE, 1)
    assert [store.take_now(key, MINUTE, 1).granted for key in (b"a", b"b", b"c")] == [0, 0, 0]
    assert len(store) == 3


def test_a_full_map_makes_room_by_dropping_what_is_full_again(clock: FixedClock) -> None:
    store = MemoryStore(clock, max_keys=3)
    store.take_now(b"live", MINUTE, 60)
    store.take_now(b"idle", MINUTE, 1)
    store.take_now(b"also live", MINUTE, 60)
    clock.advance(timedelta(seconds=2))
    assert store.take_now(b"new", MINUTE, 1).granted == 1
    assert store.owed(b"live", MINUTE) == 58
    assert store.owed(b"idle", MINUTE) == 0


def test_a_flood_of_new_keys_never_grows_the_map(clock: FixedClock) -> None:
    store = MemoryStore(clock, max_keys=100)
    denied = 0
    for number in range(5000):
        clock.advance(timedelta(milliseconds=1))
        try:
            store.take_now(b"%d" % number, MINUTE, 1)
        except StoreFull:
            denied += 1
        assert len(store) <= 100
    assert 0 < denied < 5000


async def test_sweeping_forgets_what_is_full_again(clock: FixedClock) -> None:
    store = MemoryStore(clock)
    store.take_now(b"a", MINUTE, 1)
    store.take_now(b"b", MINUTE, 30)
    clock.advance(timedelta(seconds=10))
    assert await store.sweep() == 1
    assert len(store) == 1


def test_a_forgotten_key_owes_nothing(clock: FixedClock) -> None:
    store = MemoryStore(clock)
    store.take_now(b"a", MINUTE, 7)
    assert store.owed(b"a", MINUTE) == 7
    store.forget(b"a")
    assert store.owed(b"a", MINUTE) == 0
