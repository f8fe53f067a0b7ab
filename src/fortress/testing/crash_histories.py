"""Finds in a history of transactions what no serial order could have given.

Each transaction appends numbers, each unlike any other, to lists and reads lists. A list tells in what order its numbers were
appended, so that who came before whom is known for every pair that met: the edges of a graph in which a cycle is an anomaly.
The idea and the names of the anomalies are Adya's ("Weak Consistency", 1999) and Elle's (Kingsbury and Alvaro, 2020).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec

from fortress.testing.crash_traces import Outcome


class Append(msgspec.Struct, frozen=True):
    """A number that was put at the end of a list."""

    key: str
    value: int


class Read(msgspec.Struct, frozen=True):
    """A whole list, as it was seen."""

    key: str
    values: tuple[int, ...]


class Transaction(msgspec.Struct, frozen=True):
    """What was done together.

    Attributes:
        began, ended: ticks of one counter that all clients share; None: nobody saw the end.
        outcome: REFUSED is one that was rolled back; only the reads of those that were acknowledged are judged.
    """

    steps: Sequence[Append | Read]
    began: int
    ended: int | None
    outcome: Outcome = Outcome.ACKNOWLEDGED


class Anomaly(StrEnum):
    """What no serial order gives."""

    UNKNOWN_VALUE = "a number was read that nobody appended"
    DUPLICATE = "a list holds a number twice"
    ABORTED_READ = "G1a: what was rolled back was read"
    INTERMEDIATE_READ = "G1b: the middle of a transaction was read"
    INTERNAL = "a transaction did not read what it wrote or read itself"
    INCOMPATIBLE = "two reads of a list disagree about its order"
    WRITE_CYCLE = "G0: writes in a circle"
    INFORMATION_CYCLE = "G1c: writes and reads in a circle"
    SINGLE_ANTI_DEPENDENCY = "G-single: a read skew, a lost update or a stale read"
    ANTI_DEPENDENCY_CYCLE = "G2: a write skew"


class Found(msgspec.Struct, frozen=True):
    """An anomaly, and the places in the history of the transactions that show it."""

    anomaly: Anomaly
    transactions: tuple[int, ...]


class _Edge(StrEnum):
    WRITE_WRITE = "ww"
    WRITE_READ = "wr"
    READ_WRITE = "rw"
    TIME = "time"


_Graph = dict[int, dict[int, _Edge]]


def anomalies(history: Sequence[Transaction]) -> list[Found]:
    """Everything in a history that no serial order in real time gives; empty when it is strictly serializable.

    A transaction of unknown outcome counts as committed when somebody read what it wrote. O(n + e) for the graph, with one
    cycle for each knot in it.

    Raises:
        ValueError: one number was appended to a list twice.
    """
    writers = _writers(history)
    sure = [place for place, one in enumerate(history) if one.outcome is Outcome.ACKNOWLEDGED]
    found = [item for place in sure for item in _of_one(place, history, writers)]
    if found:
        # A graph of what can't be believed would only say the same in a worse way.
        return found
    reads = [(place, step) for place, step in _steps(history, sure) if isinstance(step, Read)]
    orders, disagreements = _orders(reads)
    if disagreements:
        return disagreements
    who = {key: [writers[key, value] for value in values] for key, values in orders.items()}
    committed = sorted({*sure, *(writer for writing in who.values() for writer in writing)})
    unread = _unread(history, committed, orders)
    graph: _Graph = defaultdict(dict)
    _by_writing(graph, who, unread)
    _by_reading(graph, reads, who, unread)
    _in_time(graph, history, committed)
    return _cycles(graph, len(history))


def _writers(history: Sequence[Transaction]) -> dict[tuple[str, int], int]:
    writers: dict[tuple[str, int], int] = {}
    for place, step in _steps(history, range(len(history))):
        if isinstance(step, Append):
            if (step.key, step.value) in writers:
                raise ValueError(f"{step.value} was appended to {step.key} twice")
            writers[step.key, step.value] = place
    return writers


def _of_one(place: int, history: Sequence[Transaction], writers: Mapping[tuple[str, int], int]) -> Iterator[Found]:
    """What the reads of one transaction show by themselves."""
    own: dict[str, list[int]] = defaultdict(list)
    known: dict[str, tuple[int, ...]] = {}
    for step in history[place].steps:
        if isinstance(step, Append):
            own[step.key].append(step.value)
            continue
        yield from _of_read(place, step, history, writers)
        before = known.get(step.key)
        tail = tuple(own[step.key])
        if step.values[len(step.values) - len(tail) :] != tail or (before is not None and step.values[: len(before)] != before):
            yield Found(Anomaly.INTERNAL, (place,))
        elif before is not None and len(step.values) != len(before) + len(tail):
            yield Found(Anomaly.SINGLE_ANTI_DEPENDENCY, (place,))
        known[step.key], own[step.key] = step.values, []


def _of_read(place: int, read: Read, history: Sequence[Transaction], writers: Mapping[tuple[str, int], int]) -> Iterator[Found]:
    if len(set(read.values)) < len(read.values):
        yield Found(Anomaly.DUPLICATE, (place,))
    for value in read.values:
        writer = writers.get((read.key, value))
        if writer is None:
            yield Found(Anomaly.UNKNOWN_VALUE, (place,))
        elif writer != place and history[writer].outcome is Outcome.REFUSED:
            yield Found(Anomaly.ABORTED_READ, (writer, place))
    last = writers.get((read.key, read.values[-1])) if read.values else None
    if last is not None and last != place and _appended(history[last], read.key)[-1] != read.values[-1]:
        yield Found(Anomaly.INTERMEDIATE_READ, (last, place))


def _orders(reads: Sequence[tuple[int, Read]]) -> tuple[dict[str, tuple[int, ...]], list[Found]]:
    """The longest list that was read of each key, and the reads that do not begin it."""
    longest: dict[str, tuple[int, Read]] = {}
    for place, read in reads:
        if read.key not in longest or len(read.values) > len(longest[read.key][1].values):
            longest[read.key] = place, read
    wrong = [
        Found(Anomaly.INCOMPATIBLE, (longest[read.key][0], place))
        for place, read in reads
        if longest[read.key][1].values[: len(read.values)] != read.values
    ]
    return {key: read.values for key, (_, read) in longest.items()}, wrong


def _by_writing(graph: _Graph, who: Mapping[str, Sequence[int]], unread: Mapping[str, Sequence[int]]) -> None:
    """Who appended before whom; what nobody read stands in no known order after the rest."""
    for key, writing in who.items():
        for before, after in pairwise(writing):
            _join(graph, before, after, _Edge.WRITE_WRITE)
        for after in unread.get(key, ()):
            for before in writing[-1:]:
                _join(graph, before, after, _Edge.WRITE_WRITE)


def _by_reading(
    graph: _Graph, reads: Iterable[tuple[int, Read]], who: Mapping[str, Sequence[int]], unread: Mapping[str, Sequence[int]]
) -> None:
    """A read comes after the writer of the last number that it saw, and before that of the first it did not see."""
    for place, read in reads:
        writing, seen = who[read.key], len(read.values)
        for before in writing[seen - 1 : seen] if seen else ():
            _join(graph, before, place, _Edge.WRITE_READ)
        for after in writing[seen : seen + 1] or unread.get(read.key, ()):
            _join(graph, place, after, _Edge.READ_WRITE)


def _join(graph: _Graph, before: int, after: int, edge: _Edge) -> None:
    if before != after:
        graph[before].setdefault(after, edge)


def _unread(history: Sequence[Transaction], committed: Iterable[int], orders: Mapping[str, tuple[int, ...]]) -> dict[str, list[int]]:
    """The transactions that appended to a list what nobody read: in whatever order, they come after what was read."""
    found: dict[str, list[int]] = defaultdict(list)
    seen = {(key, value) for key, values in orders.items() for value in values}
    for place, step in _steps(history, committed):
        if isinstance(step, Append) and (step.key, step.value) not in seen:
            found[step.key].append(place)
    return found


def _in_time(graph: _Graph, history: Sequence[Transaction], committed: Sequence[int]) -> None:
    """What ended before another began came before it. A chain of moments says so with O(n) edges instead of O(n²)."""
    begun = [(history[place].began, 0, place) for place in committed]
    ended = [(end, 1, place) for place in committed if (end := history[place].ended) is not None]
    moment = len(history)
    for _, ends, place in sorted(begun + ended):
        if not ends:
            graph[moment].setdefault(place, _Edge.TIME)
        else:
            graph[moment].setdefault(moment + 1, _Edge.TIME)
            moment += 1
            graph[place].setdefault(moment, _Edge.TIME)


def _cycles(graph: _Graph, transactions: int) -> list[Found]:
    found = []
    for knot in _knots(graph):
        cycle = _shortest_cycle(graph, knot)
        edges = [graph[before][after] for before, after in pairwise([*cycle, cycle[0]])]
        found.append(Found(_named(edges), tuple(place for place in cycle if place < transactions)))
    return found


def _named(edges: Sequence[_Edge]) -> Anomaly:
    reversals = edges.count(_Edge.READ_WRITE)
    if reversals:
        return Anomaly.SINGLE_ANTI_DEPENDENCY if reversals == 1 else Anomaly.ANTI_DEPENDENCY_CYCLE
    return Anomaly.INFORMATION_CYCLE if _Edge.WRITE_READ in edges else Anomaly.WRITE_CYCLE


def _knots(graph: _Graph) -> list[set[int]]:
    """The strongly connected parts of more than one node (Tarjan 1972, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    waiting: set[int] = set()
    knots = []
    for root in list(graph):
        if root in number:
            continue
        work = [(root, iter(graph[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        waiting.add(root)
        while work:
            node, following = work[-1]
            after = next((one for one in following if one not in number or one in waiting), None)
            if after is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    knots.append(_popped(stack, waiting, node))
            elif after in number:
                low[node] = min(low[node], number[after])
            else:
                number[after] = low[after] = len(number)
                stack.append(after)
                waiting.add(after)
                work.append((after, iter(graph.get(after, {}))))
    return [knot for knot in knots if len(knot) > 1]


def _popped(stack: list[int], waiting: set[int], until: int) -> set[int]:
    knot = set[int]()
    while until not in knot:
        knot.add(stack.pop())
    waiting -= knot
    return knot


def _shortest_cycle(graph: _Graph, knot: set[int]) -> list[int]:
    """The shortest way within the knot from its first node back to itself."""
    start = min(knot)
    came: dict[int, int] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for after in graph[node]:
            if after == start:
                return _way(came, start, node)
            if after in knot and after not in came:
                came[after] = node
                queue.append(after)
    raise AssertionError("a knot has a cycle through each of its nodes")


def _way(came: Mapping[int, int], start: int, last: int) -> list[int]:
    way = [last]
    while way[-1] != start:
        way.append(came[way[-1]])
    return way[::-1]


def _steps(history: Sequence[Transaction], places: Iterable[int]) -> Iterator[tuple[int, Append | Read]]:
    return ((place, step) for place in places for step in history[place].steps)


def _appended(transaction: Transaction, key: str) -> list[int]:
    return [step.value for step in transaction.steps if isinstance(step, Append) and step.key == key]
