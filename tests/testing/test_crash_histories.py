"""The history checker: silent on serial histories, and it finds and names every planted anomaly."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fortress.testing.crash_histories import Anomaly, Append, Read, Transaction, anomalies
from fortress.testing.crash_traces import Outcome

KEYS = "xyz"
Lists = dict[str, list[int]]


def serial(chances: Random, count: int) -> tuple[list[Transaction], Lists]:
    """A history in the order in which it was done, others may be under way meanwhile; and what the lists hold at last."""
    lists: Lists = defaultdict(list)
    history, value, tick = list[Transaction](), 0, 0
    for _ in range(count):
        outcome = chances.choice([Outcome.ACKNOWLEDGED] * 5 + [Outcome.REFUSED, Outcome.UNKNOWN])
        mine = {key: list(values) for key, values in lists.items()}
        steps = list[Append | Read]()
        for _ in range(chances.randint(1, 4)):
            key = chances.choice(KEYS)
            if chances.random() < 0.5:
                value += 1
                mine.setdefault(key, []).append(value)
                steps.append(Append(key, value))
            else:
                steps.append(Read(key, tuple(mine.get(key, ()))))
        tick += 10
        if outcome is Outcome.ACKNOWLEDGED or (outcome is Outcome.UNKNOWN and chances.random() < 0.5):
            lists.update(mine)
        ended = None if outcome is Outcome.UNKNOWN else tick + chances.randint(0, 30)
        history.append(Transaction(steps, tick - chances.randint(0, 30), ended, outcome))
    return history, lists


def acknowledged(history: list[Transaction]) -> list[tuple[Transaction, Append]]:
    """The appends that must be there."""
    sure = [one for one in history if one.outcome is Outcome.ACKNOWLEDGED]
    return [(one, step) for one in sure for step in one.steps if isinstance(step, Append)]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_serial_history_has_no_anomaly(seed: int, count: int) -> None:
    history, lists = serial(Random(seed), count)
    assert anomalies(history) == []
    assert anomalies([*history, *(t(r(*lists[key], key=key), at=(10**6, 10**6 + 1)) for key in KEYS)]) == []


@given(st.integers(0, 2**32), st.integers(5, 40))
def test_a_stale_read_is_found(seed: int, count: int) -> None:
    """Somebody reads, after all others have ended, a list as it was before what was acknowledged last."""
    history, lists = serial(Random(seed), count)
    if sure := acknowledged(history):
        last, step = sure[-1]
        values = lists[step.key]
        first = min(values.index(other.value) for one, other in sure if one is last and other.key == step.key)
        history.append(t(r(*values, key=step.key), at=(10**6, 10**6 + 1)))
        history.append(t(r(*values[:first], key=step.key), at=(10**6 + 2, 10**6 + 3)))
        assert [found.anomaly for found in anomalies(history)] == [Anomaly.SINGLE_ANTI_DEPENDENCY]


@given(st.integers(0, 2**32), st.integers(5, 40))
def test_a_lost_append_is_found(seed: int, count: int) -> None:
    history, lists = serial(Random(seed), count)
    if sure := acknowledged(history):
        _, lost = Random(seed).choice(sure)
        left = {key: [value for value in values if value != lost.value] for key, values in lists.items()}
        history += [t(r(*left[key], key=key), at=(10**6, 10**6 + 1)) for key in left]
        assert anomalies(history) != []


def t(*steps: Append | Read, at: tuple[int, int] = (0, 100), outcome: Outcome = Outcome.ACKNOWLEDGED) -> Transaction:
    return Transaction(steps, *at, outcome)


def a(value: int, key: str = "x") -> Append:
    return Append(key, value)


def r(*values: int, key: str = "x") -> Read:
    return Read(key, values)


SAMPLES = [
    (Anomaly.UNKNOWN_VALUE, [t(r(7))]),
    (Anomaly.DUPLICATE, [t(a(1)), t(r(1, 1))]),
    (Anomaly.ABORTED_READ, [t(a(1), outcome=Outcome.REFUSED), t(r(1))]),
    (Anomaly.INTERMEDIATE_READ, [t(a(1), a(2)), t(r(1)), t(r(1, 2))]),
    (Anomaly.INTERNAL, [t(a(1), r())]),
    (Anomaly.INTERNAL, [t(a(1)), t(r(1), r())]),
    (Anomaly.SINGLE_ANTI_DEPENDENCY, [t(a(1)), t(r(), r(1))]),
    (Anomaly.INCOMPATIBLE, [t(a(1)), t(a(2)), t(r(1, 2)), t(r(2))]),
    (Anomaly.WRITE_CYCLE, [t(a(1), a(4, "y")), t(a(2), a(3, "y")), t(r(1, 2), r(3, 4, key="y"))]),
    (Anomaly.INFORMATION_CYCLE, [t(a(1), r(2, key="y")), t(a(2, "y"), r(1))]),
    # Both add one to what they have read: a lost update.
    (Anomaly.SINGLE_ANTI_DEPENDENCY, [t(r(), a(1)), t(r(), a(2)), t(r(1, 2))]),
    # One sees the second of two commits and not the first: a read skew.
    (Anomaly.SINGLE_ANTI_DEPENDENCY, [t(a(1), a(2, "y")), t(r(), r(2, key="y"))]),
    (Anomaly.ANTI_DEPENDENCY_CYCLE, [t(r(), a(1, "y")), t(r(key="y"), a(2))]),
    # What was acknowledged before they began, they did not see.
    (Anomaly.SINGLE_ANTI_DEPENDENCY, [t(a(1), at=(0, 1)), t(r(), at=(2, 3))]),
    (Anomaly.WRITE_CYCLE, [t(a(1), at=(0, 1)), t(a(2), at=(2, 3)), t(r(2, 1), at=(4, 5))]),
]


@pytest.mark.parametrize(("anomaly", "history"), SAMPLES, ids=[f"{turn}-{anomaly.name}" for turn, (anomaly, _) in enumerate(SAMPLES)])
@given(seed=st.integers(0, 2**32))
def test_each_anomaly_is_found_and_named_among_others_that_are_well(anomaly: Anomaly, history: list[Transaction], seed: int) -> None:
    chances = Random(seed)
    later = serial(chances, 5)[0]
    others = [replace(one, steps=[replace(step, key=step.key * 2) for step in one.steps]) for one in later]
    mixed = [*history, *others]
    chances.shuffle(mixed)
    assert anomaly in [found.anomaly for found in anomalies(mixed)]


def test_what_is_found_names_the_transactions() -> None:
    history = [t(a(9, "z")), t(r(), a(1, "y")), t(r(key="y"), a(2))]
    (found,) = anomalies(history)
    assert sorted(found.transactions) == [1, 2]


def test_one_of_unknown_outcome_may_be_there_or_not() -> None:
    doubtful = t(a(1), at=(0, 1), outcome=Outcome.UNKNOWN)
    assert anomalies([replace(doubtful, ended=None), t(r(), at=(2, 3))]) == []
    assert anomalies([replace(doubtful, ended=None), t(r(1), at=(2, 3))]) == []
    assert anomalies([replace(doubtful, ended=None), t(r(1), at=(2, 3)), t(r(), at=(4, 5))]) != []


def test_a_number_is_appended_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        anomalies([t(a(1)), t(a(1))])
