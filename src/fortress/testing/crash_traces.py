"""Compares what clients were told with what is there: nothing acknowledged is lost, nothing is done twice, no half is kept.

Clients number their operations and keep an Attempt for each. Whatever an operation leaves behind (its row, its fact, a
subscriber's effect, a job's) is a Trace: the numbers found there, in their order. `compare` reads both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec


class Outcome(StrEnum):
    """What a client knows of its operation: done; not done; or nothing, because no answer came or one that doesn't tell."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Attempt(msgspec.Struct):
    """One operation, as its client saw it.

    Attributes:
        operation: its number, unlike any other's.
        aggregate: what it was done to.
        began, ended: ticks of one counter that all clients share; what ended before another began was there before it.
    """

    operation: int
    aggregate: str
    began: int
    ended: int | None = None
    outcome: Outcome = Outcome.UNKNOWN


class Mark(msgspec.Struct, frozen=True):
    """What one operation left behind in one place."""

    operation: int
    aggregate: str


class Trace(msgspec.Struct, frozen=True):
    """All marks in one place, in their order there.

    Attributes:
        name: such as "orders" or "effects of the stock subscriber".
        ordered: whether the order within an aggregate is promised there.
    """

    name: str
    marks: Sequence[Mark]
    ordered: bool = True


class Wrong(StrEnum):
    """What can be wrong with an operation."""

    LOST = "acknowledged, and not there"
    DOUBLED = "there more than once"
    UNDONE = "refused, and there all the same"
    UNASKED = "there, and nobody asked for it"
    MISPLACED = "at another aggregate than the one asked for"
    HALF = "in one place and not in another"
    DISORDER = "before one that was acknowledged before it began"
    CROSSED = "in another order than elsewhere"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: with which operation, and where."""

    wrong: Wrong
    trace: str
    operation: int

    def __str__(self) -> str:
        return f"operation {self.operation} is {self.wrong} ({self.trace})"


def compare(attempts: Sequence[Attempt], traces: Sequence[Trace]) -> list[Finding]:
    """Everything that is wrong; empty when all is well. To be called when nothing is under way any more.

    An operation of unknown outcome may be there or not, but then in every trace or in none. The first ordered trace gives
    the order that the other ordered ones must have too. O(n) for n marks.

    Raises:
        ValueError: two attempts have one number.
    """
    asked = {attempt.operation: attempt for attempt in attempts}
    if len(asked) != len(attempts):
        raise ValueError("two attempts have one number")
    findings = [finding for trace in traces for finding in _alone(asked, trace)]
    findings += _halves(traces)
    ordered = [trace for trace in traces if trace.ordered]
    for trace in ordered:
        findings += _too_early(asked, trace)
    for trace in ordered[1:]:
        findings += _crossed(ordered[0], trace)
    return findings


def _alone(asked: dict[int, Attempt], trace: Trace) -> Iterator[Finding]:
    """What one trace shows by itself."""
    times = Counter(mark.operation for mark in trace.marks)
    yield from (Finding(Wrong.DOUBLED, trace.name, operation) for operation, count in times.items() if count > 1)
    for attempt in asked.values():
        if attempt.outcome is Outcome.ACKNOWLEDGED and attempt.operation not in times:
            yield Finding(Wrong.LOST, trace.name, attempt.operation)
        elif attempt.outcome is Outcome.REFUSED and attempt.operation in times:
            yield Finding(Wrong.UNDONE, trace.name, attempt.operation)
    for mark in trace.marks:
        origin = asked.get(mark.operation)
        if origin is None:
            yield Finding(Wrong.UNASKED, trace.name, mark.operation)
        elif origin.aggregate != mark.aggregate:
            yield Finding(Wrong.MISPLACED, trace.name, mark.operation)


def _halves(traces: Sequence[Trace]) -> Iterator[Finding]:
    """What is in some traces only."""
    found = [{mark.operation for mark in trace.marks} for trace in traces]
    everywhere = set.union(*found) if found else set[int]()
    for trace, here in zip(traces, found, strict=True):
        yield from (Finding(Wrong.HALF, trace.name, operation) for operation in sorted(everywhere - here))


def _too_early(asked: dict[int, Attempt], trace: Trace) -> Iterator[Finding]:
    """Marks that stand before one whose operation had ended when theirs began."""
    for marks in _by_aggregate(trace).values():
        first_end = _NEVER
        for mark in reversed(marks):
            attempt = asked.get(mark)
            if attempt is None:
                continue
            if first_end < attempt.began:
                yield Finding(Wrong.DISORDER, trace.name, mark)
            if attempt.ended is not None:
                first_end = min(first_end, attempt.ended)


def _crossed(first: Trace, other: Trace) -> Iterator[Finding]:
    """The first mark of each aggregate that stands elsewhere; what one of them lacks or has twice is not counted here."""
    order, here = _by_aggregate(first), _by_aggregate(other)
    for aggregate, marks in here.items():
        places = {operation: place for place, operation in enumerate(order.get(aggregate, ()))}
        both = [operation for operation in dict.fromkeys(marks) if operation in places]
        for before, after in pairwise(both):
            if places[after] < places[before]:
                yield Finding(Wrong.CROSSED, other.name, after)
                break


def _by_aggregate(trace: Trace) -> dict[str, list[int]]:
    found = defaultdict[str, list[int]](list)
    for mark in trace.marks:
        found[mark.aggregate].append(mark.operation)
    return found


_NEVER: Final = 1 << 62
