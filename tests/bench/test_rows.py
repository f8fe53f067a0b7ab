"""Bars, verdicts and the exit code."""

from __future__ import annotations

import pytest

from bench.rows import FOUNDATION, HOT_PATH, ROWS, Figure, Missing, Row, Sense, Verdict, row
from bench.table import falls_short, report

_COST = Row("cost", "a cost", Sense.AT_MOST, 0.6, 0.4, FOUNDATION)
_GAIN = Row("gain", "a gain", Sense.AT_LEAST, 10, 18, HOT_PATH)
_PLAIN = Row("plain", "no stretch", Sense.AT_MOST, 130, None, FOUNDATION)


@pytest.mark.parametrize(
    ("one", "value", "verdict"),
    [
        (_COST, 0.4, Verdict.STRETCH),
        (_COST, 0.41, Verdict.PASS),
        (_COST, 0.6, Verdict.PASS),
        (_COST, 0.61, Verdict.UNDER),
        (_GAIN, 18, Verdict.STRETCH),
        (_GAIN, 10, Verdict.PASS),
        (_GAIN, 9.99, Verdict.UNDER),
        (_PLAIN, 1, Verdict.PASS),
        (_PLAIN, 131, Verdict.UNDER),
    ],
)
def test_a_figure_is_judged_by_its_side_of_the_bar(one: Row, value: float, verdict: Verdict) -> None:
    assert one.verdict(value) is verdict


def test_a_row_under_its_bar_fails_the_run_of_its_issue_and_of_no_other() -> None:
    outcomes = [Figure("by-id", 0.5, 0.5, 0.5), Figure("read-fastapi", 9.0, 9.0, 9.0)]
    assert not falls_short(outcomes, [FOUNDATION])
    assert falls_short(outcomes, [FOUNDATION, HOT_PATH])


def test_a_row_that_could_not_be_measured_fails_the_run_and_says_why() -> None:
    outcomes = [Missing("by-id", "no database")]
    assert falls_short(outcomes, [FOUNDATION])
    assert report(outcomes, {})["rows"][0]["why"] == "no database"


def test_every_row_has_a_name_of_its_own_and_a_stretch_beyond_its_bar() -> None:
    assert len({one.key for one in ROWS}) == len(ROWS)
    assert all(one.reaches(one.stretch, one.bar) for one in ROWS if one.stretch is not None)


def test_an_unknown_row_is_an_error() -> None:
    with pytest.raises(KeyError):
        row("nothing")
