"""The end of the log, for those who look on: one reading for a whole process, however many they are.

What they are given is committed, below the oldest running transaction, and in commit order, as subscribers hear it. So whoever
goes on behind a fact misses none, whichever process they ask. Nobody's pace is another's: each has a queue with a bound.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from fortress.data import Database
from fortress.errors import FieldError, Invalid, Refusal, TooManyRequests, Unavailable
from fortress.events.following.log import Place
from fortress.security.principal import SYSTEM

POLL_SECONDS: Final = 0.25
AWAY_SECONDS: Final = 1.0
BATCH: Final = 500
QUEUE: Final = 2_000
PER_CALLER: Final = 8
PER_PROCESS: Final = 500
_RETRY_SECONDS: Final = 10
_HORIZON: Final = "pg_snapshot_xmin(pg_current_snapshot())"
_NOW: Final = f"SELECT {_HORIZON}::text::bigint AS horizon"
_NEXT: Final = f"""
SELECT id, at, name, version, aggregate, actor_id, request_id, payload::text AS payload, tx::text::bigint AS tx, seq
FROM events WHERE (tx, seq) > ($1::bigint::text::xid8, $2::bigint) AND tx < {_HORIZON}
ORDER BY events.tx, events.seq LIMIT $3"""  # noqa: S608 (constants only)
_log = structlog.get_logger("fortress.tail")


class TooManyStreams(TooManyRequests):
    """So many streams at once are more than one caller gets."""

    code, title = "streams.too_many", "Too many streams at once"


class TooSlow(Refusal):
    """The client did not keep up with what happened; it can go on where it was."""

    status, code, title = 503, "streams.too_slow", "The client did not keep up"


class Stopping(Unavailable):
    """The server stops; another one goes on where this one was."""

    code, title = "service.stopping", "The server is stopping"


class LoggedFact(msgspec.Struct, frozen=True, eq=False):
    """A fact of the log; the same object for all who look on."""

    place: Place
    id: UUID
    at: datetime
    name: str
    version: int
    aggregate: UUID
    actor_id: UUID
    request_id: str | None
    payload: dict[str, Any]


Wanted = Callable[[LoggedFact], bool]


class FactTail:
    """Follows the end of the log while somebody looks on.

    Args:
        stopping: whether the process is about to stop; then all are sent away.
    """

    def __init__(self, database: Database, stopping: Callable[[], bool] = lambda: False) -> None:
        self._database = database
        self._stopping = stopping
        self._listeners: set[_Listener] = set()
        self._callers: Counter[UUID] = Counter()
        self._place = Place(0, 0)
        self._beginning = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return self._callers.total()

    def wake(self) -> None:
        """There may be news."""
        self._news.set()

    async def follow(self, caller: UUID, after: Place | None, wanted: Wanted, pause: float) -> AsyncGenerator[Sequence[LoggedFact]]:
        """What is wanted of all that happens from now on, or of all behind `after`; an empty batch at the beginning, and now and
        then, at the latest when nothing has come for `pause` seconds.

        Raises:
            TooManyStreams, Unavailable: this caller, or this process, has as many as there may be.
            Invalid: the log has no such place yet.
            TooSlow: more happened than the queue holds, and none of it was taken.
            Stopping: the process is about to stop.
        """
        self._admit(caller)
        try:
            # The place is known before anything is sent: what happens from here on is told.
            place = await self._beginning_at(after)
            yield ()
            async with aclosing(self._all(place, wanted, pause)) as batches:
                async for facts in batches:
                    yield facts
        finally:
            self._callers[caller] -= 1

    async def run(self) -> None:
        """Read for those who look on, until cancelled."""
        while True:
            await self._wanted.wait()
            self._news.clear()
            try:
                pause = 0.0 if await self._pass() else POLL_SECONDS
            except Exception as error:
                _log.warning("tail.waiting", error=type(error).__name__)
                pause = AWAY_SECONDS
            await self._news_within(pause)

    def _admit(self, caller: UUID) -> None:
        if self._stopping():
            raise Stopping
        if self._callers[caller] >= PER_CALLER:
            raise TooManyStreams(_RETRY_SECONDS, f"At most {PER_CALLER} streams at once.")
        if len(self) >= PER_PROCESS:
            raise Unavailable("This server has as many streams as it takes.", retry_after=_RETRY_SECONDS)
        self._callers[caller] += 1

    async def _beginning_at(self, after: Place | None) -> Place:
        now = await self._now()
        if after is not None and after >= now:
            raise Invalid([FieldError("Last-Event-ID", "There is no such place in this log", "unknown_place")])
        return after or now

    async def _all(self, place: Place, wanted: Wanted, pause: float) -> AsyncGenerator[Sequence[LoggedFact]]:
        """What lies before the tail's place, by questions of its own, and then what the tail reads."""
        full = True
        while full:
            facts = await self._read(place)
            place, full = facts[-1].place if facts else place, len(facts) == BATCH
            yield list(filter(wanted, facts))
        listener = await self._joined(wanted)
        try:
            while place < listener.since:
                facts = await self._read(place)
                place = facts[-1].place if facts else listener.since
                yield list(filter(wanted, facts))
            while True:
                yield [fact for fact in await listener.next(pause) if fact.place > place]
        finally:
            self._leave(listener)

    async def _joined(self, wanted: Wanted) -> _Listener:
        async with self._beginning:
            if not self._listeners:
                self._place = await self._now()
            listener = _Listener(self._place, wanted)
            self._listeners.add(listener)
            self._wanted.set()
            return listener

    def _leave(self, listener: _Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self._wanted.clear()

    async def _pass(self) -> bool:
        """Tell all what is new; True when there may be more."""
        if self._stopping():
            for listener in self._listeners:
                listener.end(Stopping())
            return False
        facts = await self._read(self._place)
        if facts:
            self._place = facts[-1].place
        for listener in self._listeners:
            listener.tell(facts)
        return len(facts) == BATCH

    async def _now(self) -> Place:
        (row,) = await self._database.reader(SYSTEM).rows(_NOW, [])
        return Place(row["horizon"], 0)

    async def _read(self, place: Place) -> list[LoggedFact]:
        rows = await self._database.reader(SYSTEM).rows(_NEXT, [place.tx, place.seq, BATCH])
        return [_fact(row) for row in rows]

    async def _news_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return


class _Listener:
    """One that looks on.

    Attributes:
        since: the tail's place when it came; it is told all that lies behind.
    """

    def __init__(self, since: Place, wanted: Wanted) -> None:
        self.since = since
        self._wanted = wanted
        self._facts: deque[LoggedFact] = deque()
        self._news = asyncio.Event()
        self._ended: Refusal | None = None

    def tell(self, facts: Sequence[LoggedFact]) -> None:
        told = list(filter(self._wanted, facts))
        if len(self._facts) + len(told) > QUEUE:
            self.end(TooSlow())
        elif told:
            self._facts.extend(told)
            self._news.set()

    def end(self, why: Refusal) -> None:
        """No more comes; what was queued would be told too late."""
        self._facts.clear()
        self._ended = self._ended or why
        self._news.set()

    async def next(self, pause: float) -> Sequence[LoggedFact]:
        """What has come; nothing after so many seconds without news. Raises what it was ended by."""
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            return ()
        self._news.clear()
        if self._ended is not None:
            raise self._ended
        facts = tuple(self._facts)
        self._facts.clear()
        return facts


def _fact(row: Any) -> LoggedFact:
    return LoggedFact(
        Place(row["tx"], row["seq"]),
        row["id"],
        row["at"],
        row["name"],
        row["version"],
        row["aggregate"],
        row["actor_id"],
        row["request_id"],
        msgspec.json.decode(row["payload"]),
    )
