"""Time and ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from fortress.clock import FixedClock, SystemClock, TimeOrderedIds


def test_ids_are_uuid7_and_sort_by_time() -> None:
    clock = FixedClock(datetime(2026, 11, 22, tzinfo=UTC))
    ids = TimeOrderedIds(clock)
    made = []
    for _ in range(50):
        made.append(ids.new())
        clock.advance(timedelta(milliseconds=1))
    assert made == sorted(made)
    assert {one.version for one in made} == {7}
    assert {one.variant for one in made} == {RFC_4122}
    assert int.from_bytes(made[0].bytes[:6]) == int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)


def test_ids_of_one_moment_differ() -> None:
    ids = TimeOrderedIds(FixedClock(datetime(2026, 11, 22, tzinfo=UTC)))
    assert len({ids.new() for _ in range(1000)}) == 1000


def test_the_system_clock_is_in_utc_and_its_ticks_never_go_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
