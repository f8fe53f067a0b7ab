"""The facts that a subscriber could not handle, and those of the same aggregate that wait behind them.

Whoever works on one holds the lane of its aggregate, as for any other fact.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from fortress.data import Unit
from fortress.events.following.log import Rows

BATCH: Final = 32
_PARK: Final = """
INSERT INTO parked_facts (subscriber, tx, seq, event_id, event_at, name, aggregate, state, due, failures, error)
SELECT $1, one.tx::text::xid8, one.seq, one.id, one.at, one.name, one.aggregate, $2, $3, $4, $5
FROM unnest($6::bigint[], $7::bigint[], $8::uuid[], $9::timestamptz[], $10::text[], $11::uuid[]) AS one (tx, seq, id, at, name, aggregate)
ON CONFLICT (subscriber, tx, seq) DO UPDATE SET
    state = excluded.state, due = excluded.due, failures = excluded.failures, error = excluded.error
RETURNING 1"""
_DUE: Final = """
SELECT tx::text::bigint AS tx, seq, aggregate FROM parked_facts
WHERE subscriber = $1 AND state = 'waiting' AND due <= $2 ORDER BY due LIMIT $3"""
# What is no longer in the log fails like any other, and dies of it.
_READ: Final = """
SELECT p.event_id AS id, p.event_at AS at, p.name, e.version, p.aggregate, e.actor_id, e.request_id, e.payload::text AS payload,
    p.tx::text::bigint AS tx, p.seq, p.failures
FROM parked_facts p LEFT JOIN events e ON e.at = p.event_at AND e.id = p.event_id
WHERE p.subscriber = $1 AND (p.tx, p.seq) = ($2::bigint::text::xid8, $3) AND p.state = 'waiting'"""
_DONE: Final = "DELETE FROM parked_facts WHERE subscriber = $1 AND (tx, seq) = ($2::bigint::text::xid8, $3) RETURNING 1"
_AGAIN: Final = """
UPDATE parked_facts SET state = $4, due = $5, failures = failures + 1, error = $6
WHERE subscriber = $1 AND (tx, seq) = ($2::bigint::text::xid8, $3) RETURNING 1"""
# The next one of the aggregate steps forward, unless one is in front already.
_FORWARD: Final = """
UPDATE parked_facts SET state = 'waiting', due = $3 WHERE subscriber = $1 AND (tx, seq) = (
    SELECT tx, seq FROM parked_facts WHERE subscriber = $1 AND aggregate = $2 AND state <> 'dead' ORDER BY tx, seq LIMIT 1
) AND state = 'behind' RETURNING 1"""


class Due(msgspec.Struct, frozen=True):
    """A fact that may be tried again."""

    tx: int
    seq: int
    chance: int


class Parking:
    """One subscriber's."""

    def __init__(self, subscriber: str) -> None:
        self._subscriber = subscriber

    async def park(self, unit: Unit, row: Any, due: datetime | None, error: str, now: datetime) -> None:
        """This one failed: it is tried again when it is due, or never."""
        state = "dead" if due is None else "waiting"
        await unit.run(_PARK, self._subscriber, state, due or now, 1, error, *_columns([row]))

    async def queue(self, unit: Unit, rows: Rows, now: datetime) -> None:
        """These wait behind one of their aggregate."""
        if rows:
            await unit.run(_PARK, self._subscriber, "behind", now, 0, None, *_columns(rows))

    async def due(self, unit: Unit, now: datetime) -> list[Due]:
        """Some of those that may be tried again."""
        rows = await unit.rows(_DUE, [self._subscriber, now, BATCH])
        return [Due(row["tx"], row["seq"], row["aggregate"].bytes[15]) for row in rows]

    async def read(self, unit: Unit, one: Due) -> Any | None:
        """The fact, as the log has it; None when it is not to be tried any more."""
        rows = await unit.rows(_READ, [self._subscriber, one.tx, one.seq])
        return rows[0] if rows else None

    async def done(self, unit: Unit, row: Any, now: datetime) -> None:
        """It is handled; the next of its aggregate may go."""
        await unit.run(_DONE, self._subscriber, row["tx"], row["seq"])
        await unit.run(_FORWARD, self._subscriber, row["aggregate"], now)

    async def again(self, unit: Unit, row: Any, due: datetime | None, error: str, now: datetime) -> None:
        """It failed again: it is tried again when it is due, or never; then the next of its aggregate may go."""
        state = "dead" if due is None else "waiting"
        await unit.run(_AGAIN, self._subscriber, row["tx"], row["seq"], state, due or now, error)
        if due is None:
            await unit.run(_FORWARD, self._subscriber, row["aggregate"], now)


def _columns(rows: Rows) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in ("tx", "seq", "id", "at", "name", "aggregate")]
