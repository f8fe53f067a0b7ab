"""Medians and spread of rounds. Ratios are taken round by round, so that a slow minute hits both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """A median with the quartiles around it."""

    median: float
    low: float
    high: float


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, interpolated."""
    place = share * (len(sorted_values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(sorted_values) - 1)
    return sorted_values[below] + (sorted_values[above] - sorted_values[below]) * (place - below)


def summarize(values: Sequence[float]) -> Summary:
    """The median and quartiles.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return Summary(median(ordered), quantile(ordered, 0.25), quantile(ordered, 0.75))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Ours divided by theirs, round by round.

    Raises:
        ValueError: the two did not run the same number of rounds, or none.
    """
    return summarize([mine / other for mine, other in zip(ours, theirs, strict=True)])


def order_of_round(names: Sequence[str], number: int) -> list[str]:
    """Who runs when in a round: turned by one each time and mirrored every other time, so that nobody always goes first."""
    turned = [*names[number % len(names) :], *names[: number % len(names)]]
    return turned[::-1] if number % 2 else turned
