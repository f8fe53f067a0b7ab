"""The relay: sends the facts of this service's log to its stream, in the order of their commits, each once.

The stream itself refuses whoever was overtaken, so a relay that was frozen in the middle of a batch can't send it a second time;
and the stream knows its own end, so one that died between sending and noting it down goes on where the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from fortress.background import end_if_cancelled
from fortress.clock import Clock
from fortress.errors import Unavailable
from fortress.events.relay.envelope import outgoing
from fortress.events.relay.lease import Held, Lease
from fortress.events.relay.stream import BrokerAway, Overtaken, Position, Stream
from fortress.events.relay.turns import OneAtATime
from fortress.failpoints import AFTER_PUBLISH_BEFORE_MARK, BEFORE_PUBLISH
from fortress.security import SYSTEM

if TYPE_CHECKING:
    from fortress.data import Database

BATCH: Final = 1000
IDLE_SECONDS: Final = 1.0

# Below the horizon nothing can be committed any more, so the order is final.
_NEXT: Final = """
    SELECT id, at, name, version, aggregate, actor_id, request_id, payload::text AS payload, tx::text::bigint AS tx, seq
    FROM events
    WHERE (tx, seq) > ($1::bigint::text::xid8, $2) AND tx < pg_snapshot_xmin(pg_current_snapshot()) AND name = ANY($3)
    ORDER BY events.tx, events.seq LIMIT $4"""
_NEWEST: Final = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_START: Final = Position(0, 0)


class ForeignStream(BrokerAway):
    """The stream is further than this database has ever been: it was written from another one."""


class Relay(OneAtATime):
    """Sends what this service's domains have recorded, for as long as the process lives.

    Args:
        source: what the stream is called; stands in every message.
        names: the facts that this service's own domains declare.

    Attributes:
        sent: facts sent since the start.
        overtaken: times that another relay was found to have sent in our place.
    """

    def __init__(self, database: Database, stream: Stream, lease: Lease, clock: Clock, *, source: str, names: Sequence[str]) -> None:
        super().__init__(database, stream, lease)
        self._clock = clock
        self._source = source
        self._names = list(names)
        self._oldest: float | None = None
        self._woken = asyncio.Event()
        self.sent = 0
        self.overtaken = 0

    def lag(self) -> float:
        """Seconds since the oldest fact was recorded that this process has seen and not sent; 0 when there is none."""
        return 0.0 if self._oldest is None else max(0.0, self._clock.now().timestamp() - self._oldest)

    def heard(self, _names: str) -> None:
        """Facts of these names were recorded."""
        self._woken.set()

    async def _work(self, held: Held) -> None:
        """Send until the lease is another's. Raises what the stream and the database raise."""
        position = await self._place(held)
        self.away = False
        while True:
            end_if_cancelled()
            self._woken.clear()
            rows = await self._rows(position)
            if rows:
                position = await self._sent(held, rows)
            if len(rows) < BATCH:
                self._oldest = None
                await self._wait()
                if await self._lease.claim() is None:
                    return

    async def _place(self, held: Held) -> Position:
        """Where to go on: behind what the stream has, or what is known to be sent, whichever is further."""
        last = await self._stream.last()
        if last is not None and last.tx >= await self._newest():
            raise ForeignStream(f"stream {self._source} was written from another database; set another FORTRESS_BROKER_STREAM")
        return max(one for one in (last, held.position, _START) if one is not None)

    async def _sent(self, held: Held, rows: Sequence[Any]) -> Position:
        self._oldest = rows[0]["at"].timestamp()
        messages = [outgoing(self._source, row) for row in rows]
        if BEFORE_PUBLISH.armed:
            await BEFORE_PUBLISH.reached()
        await self._stream.send(messages)
        if AFTER_PUBLISH_BEFORE_MARK.armed:
            await AFTER_PUBLISH_BEFORE_MARK.reached()
        reached = messages[-1].position
        if not await self._lease.sent(held, reached):
            raise Overtaken
        self.sent += len(messages)
        return reached

    async def _rows(self, position: Position) -> Sequence[Any]:
        return await self._database.reader(SYSTEM).rows(_NEXT, [position.tx, position.seq, self._names, BATCH])

    async def _newest(self) -> int:
        rows = await self._database.reader(SYSTEM).rows(_NEWEST, [])
        return int(rows[0][0])

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _failed(self, error: Exception) -> None:
        """While nothing can be sent, the oldest fact that waits still ages."""
        await super()._failed(error)
        self.overtaken += isinstance(error, Overtaken)
        try:
            held = await self._lease.claim()
            rows = await self._rows(held.position or _START) if held else ()
        except Unavailable:
            return
        self._oldest = rows[0]["at"].timestamp() if rows else None
