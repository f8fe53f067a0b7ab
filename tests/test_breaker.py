from __future__ import annotations

from fortress.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker


def test_a_working_store_is_always_asked() -> None:
    breaker = Breaker()
    breaker.succeeded()
    assert breaker.admits(0.0)
    assert not breaker.paused(0.0)


def test_after_a_failure_nobody_asks_for_a_while() -> None:
    breaker = Breaker()
    breaker.failed(5.0)
    assert breaker.paused(5.0)
    assert not breaker.admits(5.0 + FIRST_PAUSE - 0.001)


def test_after_the_pause_one_asks_and_the_others_do_not() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    assert [breaker.admits(FIRST_PAUSE) for _ in range(3)] == [True, False, False]


def test_pauses_double_up_to_a_bound() -> None:
    breaker, now, pauses = Breaker(), 0.0, []
    breaker.failed(now)
    for _ in range(8):
        since = now
        while not breaker.admits(now):
            now += 0.01
        breaker.failed(now)
        pauses.append(round(now - since, 2))
    assert pauses == sorted(pauses)
    assert FIRST_PAUSE <= pauses[0] < pauses[-1] <= LONGEST_PAUSE + 0.02


def test_failures_of_calls_under_way_count_once() -> None:
    breaker = Breaker()
    for moment in (0.0, 0.01, 0.02):
        breaker.failed(moment)
    assert breaker.admits(FIRST_PAUSE)


def test_one_success_closes_it_and_the_next_failure_starts_anew() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    assert breaker.admits(1.0)
    breaker.succeeded()
    assert breaker.admits(1.0)
    breaker.failed(1.0)
    assert breaker.admits(1.0 + FIRST_PAUSE)


def test_it_may_bear_some_failures_in_a_row() -> None:
    breaker = Breaker(failures=3, first=1.0, longest=8.0)
    for _ in range(5):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.admits(0.0)
    for _ in range(3):
        breaker.failed(0.0)
    assert breaker.paused(0.999)
    assert [at for at in range(40) if breaker.admits(float(at))] == [1, 3, 7, 15, 23, 31, 39]
