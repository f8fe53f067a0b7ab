"""What one process keeps of one cached query or method, and how it gets what it does not have.

A load is a flight: everyone who wants the same waits for it, none who gives up takes it along, and news of a change voids
it, so that what it brings is given to those who asked before the news, and never kept. One event loop uses a shelf.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from fortress.cache.plan import Plan
from fortress.errors import Unavailable

if TYPE_CHECKING:
    from fortress.cache.memory import Memory
    from fortress.cache.remote import Found, Look

# How old an answer may be while it is not certain that news would arrive.
MOMENT_SECONDS: Final = 0.5
MOST_FLIGHTS: Final = 1000
BETA: Final = 1.0
# No draw of 53 random bits is further from 0 than this.
_FURTHEST: Final = 37.0
# An answer takes about so many times its packed size, what is sent of it included, and its place so many bytes.
_SPREAD: Final = 6
_PLACE: Final = 600

Load = Callable[[], Awaitable[Any]]

# The answers that are kept in this process, by their identity: while one is here it can't become another's.
KEPT: Final[dict[int, Entry]] = {}


class Entry:
    """An answer that is kept.

    Attributes:
        began: when its load began; nothing that was committed later need be in it.
        until: when it may not be given any more.
        early: from when on somebody may be drawn to load it anew, at the earliest.
        took: the load's seconds.
        used: whether it was given since somebody looked for one to drop.
        body: the value as it is sent, once it was; nobody can change the one without the other.
    """

    __slots__ = ("began", "body", "early", "load", "row", "size", "took", "until", "used", "value")

    def __init__(self, value: Any, load: Load, row: UUID | None, *, began: float, until: float, took: float, size: int) -> None:
        self.value = value
        self.load = load
        self.row = row
        self.began = began
        self.until = until
        self.took = took
        self.early = until - BETA * took * _FURTHEST
        self.size = size
        self.used = False
        self.body: bytes | None = None


class Flight:
    """A load under way. `void`: what it reads may have changed meanwhile."""

    __slots__ = ("began", "row", "task", "void")

    def __init__(self, row: UUID | None, began: float) -> None:
        self.row = row
        self.began = began
        self.void = False
        self.task: asyncio.Task[Any] | None = None


class Shelf:
    """Answers of one declaration.

    Args:
        memory: what all shelves of the process share.

    Attributes:
        hits: answers given from here.
        misses: answers that were not here.
        shared_hits: of the misses, those that Redis had.
        loads: times that the answer was worked out.
        stale: loads that were not kept, as there was news meanwhile.
        dropped: answers dropped because of news.
        open: whether answers are kept at all.
    """

    def __init__(self, plan: Plan, memory: Memory) -> None:
        self.plan = plan
        self.hits = self.misses = self.shared_hits = self.loads = self.stale = self.dropped = 0
        self.bytes = 0
        self.open = False
        self._memory = memory
        self._monotonic = memory.monotonic
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._rows: dict[UUID, set[bytes]] = {}
        self._flights: dict[bytes, Flight] = {}
        self._refreshing: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key: bytes) -> Entry | None:
        """What is kept under this key and may be given now; no waiting."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._monotonic()
        if now >= entry.until or (now >= self._memory.sure_until and now - entry.began > MOMENT_SECONDS and not self._memory.sure(now)):
            return None
        self.hits += 1
        entry.used = True
        if now >= entry.early and self._drawn(entry, now):
            self._refresh(key, entry)
        return entry

    async def obtain(self, key: bytes, row: UUID | None, load: Load) -> Any:
        """The answer that is not here: waited for with all others who want it, from Redis or by `load`. Raises what `load` raises."""
        self.misses += 1
        flight = self._joinable(key)
        if flight is None:
            if len(self._flights) >= MOST_FLIGHTS:
                self.loads += 1
                return await load()
            flight = Flight(row, self._monotonic())
            self._begin(key, flight, self._fly(key, flight, load))
        task = flight.task
        return await asyncio.shield(task) if task is not None else await load()

    def forget(self, rows: Iterable[UUID] | None) -> None:
        """There is news of these rows; None: of any."""
        if rows is None or self.plan.row_table is None:
            self._forget_all()
            return
        for row in rows:
            for key in tuple(self._rows.get(row, ())):
                self._drop(key)
                self.dropped += 1
            for key in [key for key, flight in self._flights.items() if flight.row in (row, None)]:
                self._flights.pop(key).void = True

    def evict(self) -> None:
        """Drop the oldest answer that nobody has used since the last time round (second chance)."""
        while True:
            key, entry = next(iter(self._entries.items()))
            if not entry.used:
                self._drop(key)
                return
            entry.used = False
            self._entries.move_to_end(key)

    def _forget_all(self) -> None:
        self.dropped += len(self._entries)
        self._memory.bytes -= self.bytes
        self.bytes = 0
        for entry in self._entries.values():
            KEPT.pop(id(entry.value), None)
        self._entries.clear()
        self._rows.clear()
        # Who comes from now on asked after the news, and waits for none of these.
        for flight in self._flights.values():
            flight.void = True
        self._flights.clear()

    def _joinable(self, key: bytes) -> Flight | None:
        """The load under way, unless it began so long ago that it may miss a change that nobody could tell us of."""
        flight = self._flights.get(key)
        if flight is None:
            return None
        now = self._monotonic()
        if now - flight.began <= MOMENT_SECONDS or self._memory.sure(now):
            return flight
        self._flights.pop(key).void = True
        return None

    def _begin(self, key: bytes, flight: Flight, work: Coroutine[Any, Any, Any]) -> None:
        self._flights[key] = flight
        flight.task = asyncio.create_task(work)
        flight.task.add_done_callback(lambda task: self._landed(key, flight, task))

    def _landed(self, key: bytes, flight: Flight, task: asyncio.Task[Any]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not task.cancelled():
            # Everyone who waited may have given up; nobody else needs to hear of a failure.
            task.exception()

    async def _fly(self, key: bytes, flight: Flight, load: Load) -> Any:
        began = self._monotonic()
        shared = self._memory.reliable()
        look = await shared.look(self.plan, key, flight.row) if shared is not None else None
        if look is not None and look.found is not None:
            self.shared_hits += 1
            found = look.found
            if not flight.void:
                self._keep(
                    key, Entry(found.value, load, flight.row, began=began, until=began + found.left, took=found.took, size=found.size)
                )
            return found.value
        return await self._load(key, flight, load, look)

    async def _load(self, key: bytes, flight: Flight, load: Load, look: Look | None) -> Any:
        began = self._monotonic()
        self.loads += 1
        try:
            async with asyncio.timeout(self._memory.patience):
                value = await load()
        except TimeoutError:
            raise Unavailable("It took too long.") from None
        if flight.void:
            self.stale += 1
            return value
        packed = self.plan.pack(value)
        took = self._monotonic() - began
        life = self.plan.lifetime.absent_seconds if value is None else self.plan.lifetime.seconds
        self._keep(key, Entry(value, load, flight.row, began=began, until=began + life, took=took, size=len(packed)))
        shared = self._memory.shared
        if shared is not None and look is not None:
            self._memory.background.start(shared.fill(look, packed, began + life, took))
        return value

    def _keep(self, key: bytes, entry: Entry) -> None:
        self._drop(key)
        entry.size = _PLACE + 2 * len(key) + _SPREAD * entry.size
        if entry.size > self._memory.largest or entry.until <= self._monotonic():
            return
        self._entries[key] = entry
        if isinstance(entry.value, msgspec.Struct):
            KEPT[id(entry.value)] = entry
        self.bytes += entry.size
        self._memory.bytes += entry.size
        if entry.row is not None:
            self._rows.setdefault(entry.row, set()).add(key)
        if len(self._entries) > self.plan.lifetime.most:
            self.evict()
        self._memory.fit()

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        KEPT.pop(id(entry.value), None)
        self.bytes -= entry.size
        self._memory.bytes -= entry.size
        if entry.row is not None:
            keys = self._rows[entry.row]
            keys.discard(key)
            if not keys:
                del self._rows[entry.row]

    def _ends(self, found: Found) -> float:
        return self._monotonic() + found.left

    def _drawn(self, entry: Entry, now: float) -> bool:
        """XFetch (Vattani, Chierichetti, Lowenstein 2015): the nearer the end and the longer the load, the likelier."""
        return -BETA * entry.took * math.log(1.0 - self._memory.draw()) >= entry.until - now

    def _refresh(self, key: bytes, entry: Entry) -> None:
        """Load anew beside those who are given what is here: once at a time in this process, and in one process at a time."""
        if key not in self._flights and key not in self._refreshing:
            self._refreshing.add(key)
            self._memory.background.start(self._refreshed(key, entry))

    async def _refreshed(self, key: bytes, entry: Entry) -> None:
        shared = self._memory.reliable()
        try:
            look = await shared.look(self.plan, key, entry.row) if shared is not None else None
            newer = look is not None and look.found is not None and self._ends(look.found) > entry.until + MOMENT_SECONDS
            if key in self._flights:
                return
            flight = Flight(entry.row, self._monotonic())
            if newer or look is None or shared is None:
                self._begin(key, flight, self._fly(key, flight, entry.load))
            elif await shared.claim(look, entry.took) and key not in self._flights:
                self._begin(key, flight, self._load(key, flight, entry.load, look))
            if flight.task is not None:
                # Who comes when it has ended will hear what was wrong.
                with suppress(Exception):
                    await asyncio.shield(flight.task)
        finally:
            self._refreshing.discard(key)
