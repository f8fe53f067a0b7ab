from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.limits import gcra
from fortress.limits.gcra import MICROSECONDS, Bucket, Rate, rate_of, take, used_at

RATES = st.builds(rate_of, st.integers(1, 200), st.integers(1, 600))
LEASED = st.builds(Rate, emission=st.integers(1, 10**6), quota=st.integers(1, 200), held=st.integers(0, 20), life=st.integers(0, 10**7))
# Pauses in hundredths of an emission, and tokens asked for.
DEMANDS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 30)), min_size=1, max_size=60)


class TokenBucket:
    """The reference: a bucket of exact fractions that fills evenly and never runs over."""

    def __init__(self, rate: Rate) -> None:
        self._rate, self._tokens, self._at = rate, Fraction(rate.quota), 0

    def take(self, now: int, wanted: int) -> int:
        self._tokens = min(Fraction(self._rate.quota), self._tokens + Fraction(now - self._at, self._rate.emission))
        self._at = now
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted


def _play(rate: Rate, demands: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Moments, tokens wanted and tokens granted."""
    now, bucket, played = 0, None, []
    for pause, wanted in demands:
        now += pause * rate.emission // 100
        step = take(rate, bucket, now, wanted)
        bucket = step.bucket
        played.append((now, wanted, step.granted))
    return played


@given(RATES, DEMANDS)
def test_decides_as_a_token_bucket_does(rate: Rate, demands: list[tuple[int, int]]) -> None:
    reference = TokenBucket(rate)
    for now, wanted, granted in _play(rate, demands):
        assert granted == reference.take(now, wanted)


@given(LEASED, DEMANDS)
def test_never_grants_more_than_the_quota_and_what_came_back_in_any_stretch_of_time(rate: Rate, demands: list[tuple[int, int]]) -> None:
    played = _play(rate, demands)
    for first in range(len(played)):
        total = 0
        for now, _, granted in played[first:]:
            total += granted
            assert total <= rate.quota + (now - played[first][0]) // rate.emission


@given(LEASED, DEMANDS)
def test_leases_only_ever_hold_back(rate: Rate, demands: list[tuple[int, int]]) -> None:
    now, bucket = 0, None
    for pause, wanted in demands:
        now += pause * rate.emission // 100
        bucket = take(rate, bucket, now, wanted).bucket
        plain = min(max(bucket.tat - now, 0), rate.burst)
        assert plain <= used_at(rate, bucket, now) <= max(plain, rate.held * rate.emission)


@given(st.integers(1, 10**6), st.integers(1, 86_400))
def test_the_emission_is_rounded_up_so_that_no_window_holds_more_than_its_quota(quota: int, window: int) -> None:
    rate = rate_of(quota, window)
    assert rate.burst >= window * MICROSECONDS
    assert (rate.emission - 1) * quota < window * MICROSECONDS


@given(st.integers(1, 1000), st.integers(1, 3600), st.integers(1, 64))
def test_shares_together_are_never_faster_than_the_whole(quota: int, window: int, share: int) -> None:
    part = rate_of(quota, window, share=share)
    assert part.emission == rate_of(quota, window).emission * share
    assert part.quota == max(1, quota // share)


@given(RATES, st.integers(1, 300))
def test_all_or_nothing_when_that_is_the_least(rate: Rate, wanted: int) -> None:
    assert take(rate, None, 0, wanted, wanted).granted in (0, wanted)


def test_a_clock_that_went_back_finds_an_empty_bucket_and_not_a_debt() -> None:
    rate = rate_of(10, 1)
    assert used_at(rate, Bucket(tat=10**12, taken=10**12), now=0) == rate.burst


def test_a_refusal_changes_nothing() -> None:
    rate = rate_of(2, 1)
    emptied = take(rate, None, 5, 2).bucket
    assert take(rate, emptied, 6, 1) == gcra.Step(emptied, 0, rate.burst - 1)


@pytest.mark.parametrize(("wanted", "least", "returned"), [(0, 1, 0), (1, 2, 0), (3, 0, 0), (1, 1, -1)])
def test_a_demand_that_makes_no_sense_is_an_error(wanted: int, least: int, returned: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        take(rate_of(1, 1), None, 0, wanted, least, returned)
