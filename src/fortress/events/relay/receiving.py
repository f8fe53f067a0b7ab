"""The inbox: writes the facts of another service into our own log, each once, where our subscribers hear them.

What is written and how far was read are one transaction, so a process that dies in between changes nothing, and one that was
frozen and overtaken writes nothing. Facts of one aggregate keep their order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from fortress.background import end_if_cancelled
from fortress.errors import Refusal, Unavailable
from fortress.events.relay.envelope import Envelope, incoming
from fortress.events.relay.lease import LONGER, Held, Lease
from fortress.events.relay.stream import Overtaken, Received, Stream
from fortress.events.relay.turns import OneAtATime
from fortress.failpoints import AFTER_EFFECT_BEFORE_ACK

if TYPE_CHECKING:
    from fortress.data import Database

BATCH: Final = 500
READ_SECONDS: Final = 1.0
_COLUMNS: Final = 8
_log = structlog.get_logger("fortress.inbox")

# Nothing is written unless the lease is still ours. What is there already, sent twice by a broker that may, stays as it is.
_TAKE: Final = """
    WITH moved AS (
        UPDATE broker_leases SET cursor = $3, moved_at = clock_timestamp(), held_until = clock_timestamp() + $12
        WHERE name = $1 AND number = $2 RETURNING 1
    ), taken AS (
        INSERT INTO events (id, at, name, version, aggregate, actor_id, request_id, payload)
        SELECT one.id, one.at, one.name, one.version, one.aggregate, one.actor_id, one.request_id, one.payload
        FROM moved, unnest($4::uuid[], $5::timestamptz[], $6::text[], $7::bigint[], $8::uuid[], $9::uuid[], $10::text[], $11::jsonb[])
            WITH ORDINALITY AS one (id, at, name, version, aggregate, actor_id, request_id, payload, place)
        ORDER BY one.place
        ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM taken) AS taken"""


class Inbox(OneAtATime):
    """Reads one other service's stream for as long as the process lives.

    Args:
        source: the stream's name.
        heard: the facts that somebody here hears; the others are passed over.
        told: called whenever some were written.

    Attributes:
        taken: facts written since the start.
        refused: messages that were no facts; they are logged by their place, and the stream keeps them.
    """

    def __init__(
        self, database: Database, stream: Stream, lease: Lease, *, source: str, heard: Collection[str], told: Callable[[], object]
    ) -> None:
        super().__init__(database, stream, lease)
        self.source = source
        self._heard = frozenset(heard)
        self._told = told
        self.taken = 0
        self.refused = 0

    async def _work(self, held: Held) -> None:
        """Read until the lease is another's. Raises what the stream and the database raise."""
        self.away = False
        cursor = held.cursor
        while True:
            end_if_cancelled()
            received = await self._stream.read(cursor, BATCH, READ_SECONDS)
            if received:
                await self._written(held, [(one, self._heard_in(one)) for one in received])
                cursor = received[-1].cursor
            elif await self._lease.claim() is None:
                return

    async def _written(self, held: Held, messages: Sequence[tuple[Received, Envelope | None]]) -> None:
        """Write the facts among these, and how far was read. Raises Overtaken, and Unavailable."""
        facts = [fact for _, fact in messages if fact is not None]
        try:
            await self._take(held, facts, messages[-1][0].cursor)
        except (Overtaken, Unavailable):
            raise
        except Refusal as refusal:
            # The database can't hold something of it, as JSON with a null character. The rest must not wait for that one.
            await self._one_by_one(held, messages, refusal)

    async def _one_by_one(self, held: Held, messages: Sequence[tuple[Received, Envelope | None]], refusal: Refusal) -> None:
        if len(messages) == 1:
            self._refuse(messages[0][0], refusal.code)
            await self._take(held, (), messages[0][0].cursor)
            return
        middle = len(messages) // 2
        await self._written(held, messages[:middle])
        await self._written(held, messages[middle:])

    async def _take(self, held: Held, facts: Sequence[Envelope], cursor: str) -> None:
        """Write these and how far was read, at once. Raises Overtaken."""
        columns = list(zip(*map(_columns, facts), strict=True)) or [()] * _COLUMNS
        row = await self._database.fetchrow(_TAKE, self._lease.name, held.number, cursor, *map(list, columns), LONGER)
        if row is None or not row["moved"]:
            raise Overtaken
        if AFTER_EFFECT_BEFORE_ACK.armed:
            await AFTER_EFFECT_BEFORE_ACK.reached()
        if row["taken"]:
            self.taken += row["taken"]
            self._told()

    def _heard_in(self, received: Received) -> Envelope | None:
        """The fact, if it is one and somebody here hears it."""
        try:
            fact = incoming(received.body)
        except ValueError as error:
            self._refuse(received, type(error).__name__)
            return None
        return fact if fact.type in self._heard else None

    def _refuse(self, received: Received, reason: str) -> None:
        self.refused += 1
        _log.error("inbox.refused", stream=self.source, place=received.cursor, reason=reason)


def _columns(fact: Envelope) -> tuple[object, ...]:
    payload = bytes(fact.data).decode()
    return fact.id, fact.time, fact.type, fact.dataversion, fact.subject, fact.actorid, fact.requestid, payload
