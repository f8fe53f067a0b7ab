"""The sum over all processes, in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fortress.telemetry.board import Board
from fortress.telemetry.instruments import STATUS_CLASSES, Family, Kind, Merge

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_INFINITY: Final = "+Inf"

Labels = tuple[str, ...]
Cells = list[float]
Sums = dict[Labels, Cells]


class BoardCollector(Collector):
    """Adds up the blocks when asked.

    Args:
        families: every metric by name; may grow.
    """

    def __init__(self, board: Board, families: Mapping[str, Family]) -> None:
        self._board = board
        self._families = families
        self._sums: dict[str, Sums] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """All metrics as text."""
        self._sums = self._add_up()
        return generate_latest(self._registry) + "".join(self._route_text()).encode()

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is shows when it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            if family.kind is not Kind.ROUTE:
                yield _metric(name, family, self._sums.get(name, {}))

    def _route_text(self) -> Iterator[str]:
        for name, family in self._families.items():
            if family.kind is Kind.ROUTE:
                yield from _requests(family, self._sums.get(name, {}))
                yield from _durations(family, self._sums.get(name, {}))

    def _add_up(self) -> dict[str, Sums]:
        sums: dict[str, Sums] = {}
        for block in self._board.blocks:
            alive = block.alive
            for name, at in block.entries():
                family = self._families.get(name.metric)
                if family is None or not (alive or _outlives(family)):
                    continue
                cells = list(block.cells[at : at + name.cells])
                known = sums.setdefault(name.metric, {})
                known[name.labels] = _merged(family, known[name.labels], cells) if name.labels in known else cells
        return sums


def _outlives(family: Family) -> bool:
    return family.kind is not Kind.GAUGE or family.merge is Merge.LATEST


def _merged(family: Family, one: Cells, other: Cells) -> Cells:
    if family.kind is Kind.GAUGE and family.merge is Merge.LATEST:
        return max(one, other, key=lambda cells: cells[1])
    if family.kind is Kind.GAUGE and family.merge is Merge.MAX:
        return max(one, other)
    return [first + second for first, second in zip(one, other, strict=True)]


def _metric(name: str, family: Family, sums: Sums) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, cells in sums.items():
            histogram.add_metric(labels, _buckets(family.bounds, cells[1:]), cells[0])
        return histogram
    of_kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = of_kind(name, family.help, labels=family.labels)
    for labels, cells in sums.items():
        metric.add_metric(labels, cells[0])
    return metric


# Written here and not by the library, which takes a quarter of a second for a thousand routes, on the event loop.
def _requests(family: Family, sums: Sums) -> Iterator[str]:
    yield "# HELP fortress_requests_total Requests answered.\n# TYPE fortress_requests_total counter\n"
    for labels, cells in sums.items():
        pairs = _pairs(family, labels)
        for status_class, count in zip(STATUS_CLASSES, cells[1:6], strict=True):
            if count:
                yield f'fortress_requests_total{{{pairs},status_class="{status_class}"}} {count}\n'


def _durations(family: Family, sums: Sums) -> Iterator[str]:
    name = "fortress_request_seconds"
    yield f"# HELP {name} How long the answers took.\n# TYPE {name} histogram\n"
    for labels, cells in sums.items():
        if any(cells[1:6]):
            pairs, buckets = _pairs(family, labels), _buckets(family.bounds, cells[6:])
            for bound, count in buckets:
                yield f'{name}_bucket{{{pairs},le="{bound}"}} {count}\n'
            yield f"{name}_count{{{pairs}}} {buckets[-1][1]}\n{name}_sum{{{pairs}}} {cells[0]}\n"


def _pairs(family: Family, labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, labels, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _buckets(bounds: Sequence[float], counts: Cells) -> list[tuple[str, float]]:
    names = [*map(floatToGoString, bounds), _INFINITY]
    return list(zip(names, accumulate(counts), strict=True))
