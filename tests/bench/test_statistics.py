"""What the table's figures are made of."""

from __future__ import annotations

import pytest

from bench.statistics import order_of_round, quantile, ratios, summarize


def test_a_summary_is_the_median_between_its_quartiles() -> None:
    summary = summarize([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (summary.low, summary.median, summary.high) == (2.0, 3.0, 4.0)


def test_one_slow_round_does_not_move_the_median() -> None:
    assert summarize([1.0, 1.0, 1.0, 1.0, 90.0]).median == 1.0


def test_nothing_measured_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        summarize([])


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert quantile([10.0, 20.0], 0.25) == pytest.approx(12.5)
    assert quantile([7.0], 0.75) == 7.0


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_minute_cancels() -> None:
    summary = ratios([1.0, 10.0, 100.0], [2.0, 20.0, 200.0])
    assert (summary.low, summary.median, summary.high) == (0.5, 0.5, 0.5)


def test_a_ratio_of_unequal_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


def test_every_round_has_everyone_and_nobody_always_goes_first() -> None:
    names = ["ours", "theirs", "floor"]
    rounds = [order_of_round(names, number) for number in range(6)]
    assert all(sorted(each) == sorted(names) for each in rounds)
    assert {each[0] for each in rounds} == set(names)
