"""Metrics: counted in plain memory, added up over all worker processes when somebody asks."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final, Protocol

from fortress.telemetry.board import Board
from fortress.telemetry.exposition import CONTENT_TYPE, BoardCollector
from fortress.telemetry.instruments import (
    REQUEST_BOUNDS,
    WAIT_BOUNDS,
    Counter,
    Family,
    Gauge,
    Histogram,
    Kind,
    Merge,
    Read,
    RouteMetrics,
    Tally,
    Watched,
)

SAMPLE_SECONDS: Final = 1.0
MAX_CODES: Final = 200
_PREFIX: Final = "fortress_"


class PoolState(Protocol):
    """What is to be seen of a pool of connections."""

    @property
    def name(self) -> str: ...
    @property
    def in_use(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class HashState(Protocol):
    """What is to be seen of the pool that hashes passwords."""

    @property
    def queued(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class Metrics:
    """The instruments of this process.

    Names are given without `fortress_`; a counter's ends with `_total`. Every label value makes a series that stays for ever,
    so they come from fixed sets: never from a caller's input.

    Args:
        board: made before the workers were forked, when there are several.

    Raises:
        CannotStart: the board has no room.
    """

    def __init__(self, board: Board | None = None) -> None:
        board = board or Board()
        self._block = board.claim()
        self._families: dict[str, Family] = {}
        self._page = BoardCollector(board, self._families)
        self._sampled: list[Tally | Watched] = []
        self._codes: dict[str, Counter] = {}
        self._waits: dict[str, Histogram] = {}
        self._round_trips = self.counter("limiter_round_trips_total", "Times that the limit store was asked and answered.")
        self._round_trip_seconds = self.histogram("limiter_round_trip_seconds", "How long the limit store took.", WAIT_BOUNDS)
        self._store_errors = self.counter("limiter_store_errors_total", "Times that the limit store failed or was too slow.")
        self._fallbacks = self.counter("limiter_fallbacks_total", "Requests decided by a worker's own share of a limit.")
        self.watch("workers", "Processes that serve.", lambda: 1.0)
        build = {"version": version("fortress"), "python": platform.python_version()}
        self.gauge("build_info", "What is running.", labels=build, merge=Merge.MAX).set(1.0)

    def route(self, method: str, template: str) -> RouteMetrics:
        """The counter of one route; `template` is its path with the parameters unfilled, or `unmatched`."""
        labels = {"method": method, "route": template}
        return RouteMetrics(self._block, self._reserve("route", Kind.ROUTE, "Requests answered.", labels, REQUEST_BOUNDS))

    def counter(self, name: str, about: str, labels: Mapping[str, str] | None = None) -> Counter:
        """A number that only grows."""
        return Counter(self._block, self._reserve(name, Kind.COUNTER, about, labels))

    def gauge(self, name: str, about: str, labels: Mapping[str, str] | None = None, merge: Merge = Merge.SUM) -> Gauge:
        """A number to be set; `merge` says what the processes' numbers make together."""
        return Gauge(self._block, self._reserve(name, Kind.GAUGE, about, labels, merge=merge))

    def histogram(self, name: str, about: str, bounds: tuple[float, ...], labels: Mapping[str, str] | None = None) -> Histogram:
        """How values spread; `bounds` are upper ones, rising."""
        return Histogram(self._block, self._reserve(name, Kind.HISTOGRAM, about, labels, bounds), bounds)

    def watch(self, name: str, about: str, read: Read, labels: Mapping[str, str] | None = None, merge: Merge = Merge.SUM) -> None:
        """A gauge that is read by `read`, each second and whenever metrics are asked for. It must be quick."""
        self._sampled.append(Watched(self.gauge(name, about, labels, merge), read))

    def tally(self, name: str, about: str, read: Read, labels: Mapping[str, str] | None = None) -> None:
        """A counter that somebody else keeps; `read` gives its present value, which only grows."""
        self._sampled.append(Tally(self._block, self._reserve(name, Kind.COUNTER, about, labels), read))

    def watch_pool(self, pool: PoolState) -> None:
        """Show a pool of connections."""
        labels = {"pool": pool.name}
        self.watch("pool_in_use", "Connections at work.", lambda: pool.in_use, labels)
        self.watch("pool_idle", "Connections kept for the next caller.", lambda: pool.idle, labels)
        self.watch("pool_waiting", "Callers that wait for a connection.", lambda: pool.waiting, labels)
        self._waits[pool.name] = self.histogram("pool_wait_seconds", "How long callers waited who had to.", WAIT_BOUNDS, labels)

    def watch_hashing(self, hashing: HashState) -> None:
        """Show the pool that hashes passwords."""
        self.watch("hash_queued", "Password hashes that wait for a thread.", lambda: hashing.queued)
        self.watch("hash_running", "Password hashes under way.", lambda: hashing.running)
        self.tally("hash_rejected_total", "Password hashes refused because too many waited.", lambda: hashing.rejected)

    def refused(self, code: str) -> None:
        """Count a refusal by its code; after MAX_CODES different ones the rest is `other`."""
        counter = self._codes.get(code)
        if counter is None:
            shown = code if len(self._codes) < MAX_CODES else "other"
            counter = self.counter("refusals_total", "Requests refused.", {"code": shown})
            if shown == code:
                self._codes[code] = counter
        counter.add()

    def waited(self, pool: str, seconds: float) -> None:
        """A caller waited so long for a connection of a pool that is watched."""
        histogram = self._waits.get(pool)
        if histogram is not None:
            histogram.observe(seconds)

    def on_round_trip(self, seconds: float, /) -> None:
        """The limit store answered."""
        self._round_trips.add()
        self._round_trip_seconds.observe(seconds)

    def on_store_error(self, _error: Exception, /) -> None:
        """The limit store did not answer."""
        self._store_errors.add()

    def on_fallback(self, _limit: object, /) -> None:
        """A request was decided without the limit store."""
        self._fallbacks.add()

    def sample(self) -> None:
        """Bring what is read from others up to date, for the other processes to see."""
        for sampled in self._sampled:
            sampled.sample()

    async def keep_sampling(self) -> None:
        """Sample once a second, for as long as the process serves."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def render(self) -> tuple[bytes, str]:
        """All processes' metrics as text, and its content type."""
        self.sample()
        return self._page.render(), CONTENT_TYPE

    def close(self) -> None:
        """This process counts no more; what it has counted stays."""
        self._block.leave()

    def _reserve(
        self,
        name: str,
        kind: Kind,
        about: str,
        labels: Mapping[str, str] | None,
        bounds: tuple[float, ...] = (),
        merge: Merge = Merge.SUM,
    ) -> int:
        labels = labels or {}
        family = Family(kind, about, tuple(labels), bounds, merge)
        known = self._families.setdefault(_PREFIX + name, family)
        if known != family:
            raise ValueError(f"metric {name} was declared otherwise before")
        return self._block.reserve(_PREFIX + name, tuple(labels.values()), family.cells)
