"""The comparison of acknowledged with effects: silent when all is well, and it finds each fault that is planted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.testing.crash_traces import Attempt, Finding, Mark, Outcome, Trace, Wrong, compare

ACKNOWLEDGED, REFUSED, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN
PLACES = ("rows", "facts", "effects")


class World(msgspec.Struct):
    """A run in which nothing went wrong: what clients saw, and what there is."""

    attempts: list[Attempt]
    marks: list[Mark]

    def compared(self, **others: list[Mark]) -> list[Finding]:
        """With these marks instead in these places."""
        return compare(self.attempts, [Trace(place, others.get(place, self.marks)) for place in PLACES])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Clients that work side by side on few aggregates; each operation is done at some moment between its begin and its end."""
    chances = Random(draw(st.integers(0, 2**32)))
    attempts, marks, under_way, tick = list[Attempt](), list[Mark](), list[Attempt](), 0
    for number in range(draw(st.integers(1, 25))):
        under_way.append(Attempt(number, chances.choice("abc"), began=(tick := tick + 1)))
        while under_way and chances.random() < 0.6:
            attempt = under_way.pop(chances.randrange(len(under_way)))
            attempt.outcome = chances.choice([ACKNOWLEDGED, ACKNOWLEDGED, REFUSED, UNKNOWN])
            if attempt.outcome is ACKNOWLEDGED or (attempt.outcome is UNKNOWN and chances.random() < 0.5):
                marks.append(Mark(attempt.operation, attempt.aggregate))
            if attempt.outcome is not UNKNOWN:
                attempt.ended = (tick := tick + 1)
            attempts.append(attempt)
    return World(attempts + under_way, marks)


@given(worlds())
def test_nothing_is_found_where_nothing_is_wrong(world: World) -> None:
    assert world.compared() == []


def lose(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]] | None:
    sure = [one.operation for one in world.attempts if one.outcome is ACKNOWLEDGED]
    if not sure:
        return None
    lost = chances.choice(sure)
    return Wrong.LOST, lost, [mark for mark in world.marks if mark.operation != lost]


def double(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]] | None:
    if not world.marks:
        return None
    place = chances.randrange(len(world.marks))
    return Wrong.DOUBLED, world.marks[place].operation, [*world.marks[:place], world.marks[place], *world.marks[place:]]


def keep_refused(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]] | None:
    refused = [one for one in world.attempts if one.outcome is REFUSED]
    if not refused:
        return None
    kept = chances.choice(refused)
    return Wrong.UNDONE, kept.operation, [*world.marks, Mark(kept.operation, kept.aggregate)]


def invent(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]]:
    place = chances.randint(0, len(world.marks))
    return Wrong.UNASKED, 999, [*world.marks[:place], Mark(999, "a"), *world.marks[place:]]


def misplace(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]] | None:
    if not world.marks:
        return None
    marks = list(world.marks)
    place = chances.randrange(len(marks))
    marks[place] = Mark(marks[place].operation, "elsewhere")
    return Wrong.MISPLACED, marks[place].operation, marks


def cross(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]] | None:
    """Two neighbours of one aggregate change places."""
    marks = list(world.marks)
    chosen = chances.choice("abc")
    places = [place for place, mark in enumerate(marks) if mark.aggregate == chosen]
    if len(places) < 2:
        return None
    turn = chances.randrange(len(places) - 1)
    first, second = places[turn], places[turn + 1]
    marks[first], marks[second] = marks[second], marks[first]
    return Wrong.CROSSED, marks[second].operation, marks


def hurry(world: World, chances: Random) -> tuple[Wrong, int, list[Mark]] | None:
    """One goes before another that its client knew to be done when it began."""
    asked = {one.operation: one for one in world.attempts}
    pairs = [
        (before, after)
        for before, first in enumerate(world.marks)
        for after, second in enumerate(world.marks)
        if first.aggregate == second.aggregate and (asked[first.operation].ended or 10**9) < asked[second.operation].began
    ]
    if not pairs:
        return None
    before, after = chances.choice(pairs)
    marks = list(world.marks)
    hurried = marks.pop(after)
    marks.insert(before, hurried)
    return Wrong.DISORDER, hurried.operation, marks


Plant = Callable[[World, Random], tuple[Wrong, int, list[Mark]] | None]


@pytest.mark.parametrize("plant", [lose, double, keep_refused, invent, misplace, cross, hurry], ids=lambda plant: plant.__name__)
@given(world=worlds(), seed=st.integers(0, 2**32))
def test_a_planted_fault_is_found_with_its_operation(plant: Plant, world: World, seed: int) -> None:
    planted = plant(world, Random(seed))
    if planted is not None:
        wrong, operation, marks = planted
        found = world.compared(effects=marks)
        assert Finding(wrong, "effects", operation) in found, found


@given(worlds(), st.integers(0, 2**32))
def test_half_of_an_operation_is_found_though_its_client_does_not_know(world: World, seed: int) -> None:
    unsure = {one.operation for one in world.attempts if one.outcome is UNKNOWN}
    halves = [mark for mark in world.marks if mark.operation in unsure]
    if halves:
        lost = Random(seed).choice(halves)
        found = world.compared(facts=[mark for mark in world.marks if mark != lost])
        assert found == [Finding(Wrong.HALF, "facts", lost.operation)]


def test_an_order_that_nobody_promised_is_not_asked_for() -> None:
    attempts = [Attempt(number, "a", 2 * number, 2 * number + 1, ACKNOWLEDGED) for number in range(3)]
    marks = [Mark(number, "a") for number in range(3)]
    ways = [Trace("rows", marks), Trace("jobs", marks[::-1], ordered=False)]
    assert compare(attempts, ways) == []
    assert {item.wrong for item in compare(attempts, [ways[0], Trace("jobs", marks[::-1])])} == {Wrong.CROSSED, Wrong.DISORDER}


def test_a_number_is_given_once() -> None:
    with pytest.raises(ValueError, match="one number"):
        compare([Attempt(1, "a", 1), Attempt(1, "a", 2)], [])


def test_a_finding_reads_as_a_sentence() -> None:
    (found,) = compare([Attempt(7, "a", 1, 2, ACKNOWLEDGED)], [Trace("orders", [])])
    assert str(found) == "operation 7 is acknowledged, and not there (orders)"
