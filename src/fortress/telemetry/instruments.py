"""What counts: each instrument is an offset into this process's block, so that counting is an addition and nothing else."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import msgspec

from fortress.telemetry.board import Block

REQUEST_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
STATUS_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")

Read = Callable[[], float]


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    ROUTE = "route"


class Merge(Enum):
    """What the processes' gauges make together: their sum, the greatest, or the one that was set last."""

    SUM = "sum"
    MAX = "max"
    LATEST = "latest"


class Family(msgspec.Struct, frozen=True):
    """A metric: its kind, what it means, the names of its labels, and a histogram's upper bounds."""

    kind: Kind
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    merge: Merge = Merge.SUM

    @property
    def cells(self) -> int:
        return {Kind.COUNTER: 1, Kind.GAUGE: 2, Kind.HISTOGRAM: 2 + len(self.bounds), Kind.ROUTE: 7 + len(self.bounds)}[self.kind]


class Counter:
    """Only grows. For the event loop's thread; an addition from another thread may be lost."""

    __slots__ = ("_at", "_cells")

    def __init__(self, block: Block, at: int) -> None:
        self._cells = block.cells
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        self._cells[self._at] += amount


class Gauge:
    """Goes up and down."""

    __slots__ = ("_at", "_cells")

    def __init__(self, block: Block, at: int) -> None:
        self._cells = block.cells
        self._at = at

    def set(self, value: float) -> None:
        self._cells[self._at] = value
        # The system's own, as it is one for all processes of the machine; an injected one is not.
        self._cells[self._at + 1] = time.monotonic()


class Tally:
    """A counter that somebody else keeps as a plain number, such as an attribute; copied when metrics are asked for."""

    __slots__ = ("_at", "_before", "_cells", "_read")

    def __init__(self, block: Block, at: int, read: Read) -> None:
        self._cells = block.cells
        self._at = at
        self._read = read
        # What a process that is gone had counted here.
        self._before = block.cells[at]

    def sample(self) -> None:
        self._cells[self._at] = self._before + self._read()


class Watched:
    """A gauge that is read from somebody else whenever metrics are asked for."""

    __slots__ = ("_gauge", "_read")

    def __init__(self, gauge: Gauge, read: Read) -> None:
        self._gauge = gauge
        self._read = read

    def sample(self) -> None:
        self._gauge.set(self._read())


class Histogram:
    """How values spread over fixed bounds. Cells: their sum, then how many fell below each bound and above the last."""

    __slots__ = ("_at", "_bounds", "_cells")

    def __init__(self, block: Block, at: int, bounds: Sequence[float]) -> None:
        self._cells = block.cells
        self._at = at
        self._bounds = bounds

    def observe(self, value: float) -> None:
        cells, at = self._cells, self._at
        cells[at] += value
        cells[at + 1 + bisect_left(self._bounds, value)] += 1.0


class RouteMetrics:
    """Rate, errors and duration of one route. Cells: the sum of seconds, a count for each status class, then the spread."""

    __slots__ = ("_at", "_cells")

    def __init__(self, block: Block, at: int) -> None:
        self._cells = block.cells
        self._at = at

    def observe(self, status: int, seconds: float) -> None:
        """Count one answer."""
        cells, at = self._cells, self._at
        cells[at] += seconds
        cells[at + status // 100] += 1.0
        cells[at + 6 + bisect_left(REQUEST_BOUNDS, seconds)] += 1.0
