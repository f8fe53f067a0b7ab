"""What an operator asks of the log and its subscribers, and may have done again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.errors import Conflict, NotFound
from fortress.events.following.log import FactLog, Place, lock_key
from fortress.events.following.watch import COUNTS
from fortress.security.principal import SYSTEM

_HORIZON: Final = "pg_snapshot_xmin(pg_current_snapshot())"
_FIELDS: Final = "id, at, name, version, aggregate, actor_id, request_id, payload::text AS payload, tx::text::bigint AS tx, seq"
_CHOSEN: Final = f"tx < {_HORIZON} AND ($1::text IS NULL OR name = $1) AND ($2::uuid IS NULL OR aggregate = $2)"
_LAST: Final = f"SELECT {_FIELDS} FROM events WHERE {_CHOSEN} ORDER BY events.tx DESC, events.seq DESC LIMIT $3"  # noqa: S608 (constants only)
_AFTER: Final = (
    f"SELECT {_FIELDS} FROM events WHERE {_CHOSEN} "  # noqa: S608
    "AND (tx, seq) > ($4::bigint::text::xid8, $5) ORDER BY events.tx, events.seq LIMIT $3"
)
_NAMES: Final = "SELECT subscriber FROM subscriber_lanes UNION SELECT subscriber FROM parked_facts"
_STANDING: Final = "SELECT count(*) AS lanes, max(moved_at) AS moved_at FROM subscriber_lanes WHERE subscriber = $1"
_LOCKED: Final = "SELECT pg_advisory_xact_lock($2, lane::int) FROM subscriber_lanes WHERE subscriber = $1 ORDER BY lane"
_SET: Final = "UPDATE subscriber_lanes SET tx = $2::bigint::text::xid8, seq = $3, moved_at = now() WHERE subscriber = $1 RETURNING 1"
# What lies behind the new place is read again from the log.
_UNPARK: Final = "DELETE FROM parked_facts WHERE subscriber = $1 AND (tx, seq) > ($2::bigint::text::xid8, $3) RETURNING 1"
_NOW: Final = f"SELECT {_HORIZON}::text::bigint AS tx, 0::bigint AS seq"
_SINCE: Final = "SELECT tx::text::bigint AS tx, seq - 1 AS seq FROM events WHERE at >= $1 ORDER BY events.tx, events.seq LIMIT 1"
_OF_EVENT: Final = "SELECT tx::text::bigint AS tx, seq FROM events WHERE id = $1 AND at BETWEEN $2 AND $3"
_REVIVE: Final = "UPDATE parked_facts SET state = 'waiting', due = $2, failures = 0 WHERE subscriber = $1 AND state = 'dead' RETURNING 1"
_AGAIN: Final = """
INSERT INTO parked_facts (subscriber, tx, seq, event_id, event_at, name, aggregate, state, due, failures)
SELECT $1, tx, seq, id, at, name, aggregate, 'waiting', $3, 0 FROM events WHERE id = $2 AND at BETWEEN $4 AND $5
ON CONFLICT (subscriber, tx, seq) DO UPDATE SET state = 'waiting', due = excluded.due, failures = 0
WHERE parked_facts.state = 'dead' RETURNING 1"""
_FORGET: Final = """
WITH lanes AS (DELETE FROM subscriber_lanes WHERE subscriber = $1 RETURNING 1)
DELETE FROM parked_facts WHERE subscriber = $1 RETURNING 1"""
_DAY: Final = timedelta(days=1)


class NoSuchSubscriber(NotFound):
    """No domain here declares it, and it has no place in the log."""

    code, title = "subscribers.not_found", "There is no such subscriber"


class NoSuchEvent(NotFound):
    """No fact of this id is in the log."""

    code, title = "events.not_found", "There is no such fact in the log"


class StillDeclared(Conflict):
    """It is at work: it would only begin anew."""

    code, title = "subscribers.declared", "The subscriber is still declared"


class SubscriberLine(msgspec.Struct, frozen=True):
    """A subscriber and how it stands.

    Attributes:
        declared: whether a domain of this release declares it; else it is what an older one, or another name, left behind.
        behind: facts that it has yet to handle; counted up to 100,000. None of one that is not declared.
        parked: facts that it tries again, and those that wait behind them.
        dead: facts that it has given up.
        moved_at: when it last went on; None: it has never been at work.
    """

    name: str
    declared: bool
    lanes: int
    behind: int | None
    parked: int
    dead: int
    moved_at: datetime | None


class EventLine(msgspec.Struct, frozen=True):
    """A fact in the log, as it was recorded."""

    id: UUID
    at: datetime
    name: str
    version: int
    aggregate: UUID
    actor_id: UUID
    request_id: str | None
    tx: int
    seq: int
    payload: msgspec.Raw


class Step(msgspec.Struct, frozen=True):
    """How much of a replay is done."""

    done: int
    total: int


class FactDesk:
    """The desk.

    Args:
        logs: the log as each declared subscriber reads it.
    """

    def __init__(self, database: Database, clock: Clock, logs: Sequence[FactLog]) -> None:
        self._database = database
        self._clock = clock
        self._logs = {log.subscriber.name: log for log in logs}

    async def subscribers(self) -> list[SubscriberLine]:
        """All that are declared, and all that have left something behind."""
        left = {row["subscriber"] for row in await self._rows(_NAMES)}
        return [await self._line(name) for name in sorted(left | self._logs.keys())]

    async def last(self, name: str | None, aggregate: UUID | None, most: int) -> list[EventLine]:
        """The newest facts, the newest last."""
        return [_line(row) for row in reversed(await self._rows(_LAST, name, aggregate, most))]

    async def after(self, name: str | None, aggregate: UUID | None, most: int, place: Place) -> list[EventLine]:
        """The facts that came behind this place, in the order of their commits."""
        return [_line(row) for row in await self._rows(_AFTER, name, aggregate, most, place.tx, place.seq)]

    async def replay_all(self, subscriber: str) -> int:
        """Have the whole log heard again; how many facts that is. Raises NoSuchSubscriber."""
        return await self._go(subscriber, Place(0, 0))

    async def replay_since(self, subscriber: str, since: datetime) -> int:
        """The same of what was recorded from this time on, with whatever was committed after the first of it."""
        rows = await self._rows(_SINCE, since)
        return await self._go(subscriber, Place(rows[0]["tx"], rows[0]["seq"]) if rows else await self._now())

    async def replay_from(self, subscriber: str, event: UUID) -> int:
        """The same from this fact on. Raises NoSuchSubscriber and NoSuchEvent."""
        rows = await self._rows(_OF_EVENT, event, *_about(event))
        if not rows:
            raise NoSuchEvent
        return await self._go(subscriber, Place(rows[0]["tx"], rows[0]["seq"] - 1))

    async def pass_over(self, subscriber: str) -> None:
        """Have nothing heard that has happened so far; what is parked is dropped. Raises NoSuchSubscriber."""
        self._declared(subscriber)
        async with self._database.unit(SYSTEM) as unit:
            await self._set(unit, subscriber, await self._now())
            await unit.run(_UNPARK, subscriber, 0, 0)

    async def revive(self, subscriber: str) -> int:
        """Have all its dead facts tried again; how many. Raises NoSuchSubscriber."""
        self._declared(subscriber)
        return len(await self._database.run(_REVIVE, subscriber, self._clock.now()))

    async def again(self, subscriber: str, event: UUID) -> bool:
        """Have this one fact heard again; False when it waits already. Raises NoSuchSubscriber and NoSuchEvent."""
        self._declared(subscriber)
        if not await self._rows(_OF_EVENT, event, *_about(event)):
            raise NoSuchEvent
        return bool(await self._database.run(_AGAIN, subscriber, event, self._clock.now(), *_about(event)))

    async def forget(self, subscriber: str) -> None:
        """Remove what a subscriber left behind that is no longer there. Raises NoSuchSubscriber and StillDeclared."""
        if subscriber in self._logs:
            raise StillDeclared
        if subscriber not in {row["subscriber"] for row in await self._rows(_NAMES)}:
            raise NoSuchSubscriber
        await self._database.run(_FORGET, subscriber)

    async def behind(self, subscriber: str) -> int:
        """How many facts it has yet to handle. Raises NoSuchSubscriber."""
        (row,) = await self._rows(COUNTS, subscriber, self._declared(subscriber).names)
        return int(row["behind"])

    async def catching_up(self, subscriber: str, total: int) -> AsyncIterator[Step]:
        """How far it is with so many, each time that it is asked; ends when it has caught up."""
        left = await self.behind(subscriber)
        while left:
            yield Step(max(0, total - left), total)
            left = await self.behind(subscriber)
        yield Step(total, total)

    async def _go(self, subscriber: str, place: Place) -> int:
        self._declared(subscriber)
        async with self._database.unit(SYSTEM) as unit:
            await self._set(unit, subscriber, place)
        return await self.behind(subscriber)

    async def _set(self, unit: Unit, subscriber: str, place: Place) -> None:
        await unit.run(_LOCKED, subscriber, lock_key(subscriber))
        if not await unit.run(_SET, subscriber, place.tx, place.seq):
            raise NoSuchSubscriber("It has not been at work yet")
        await unit.run(_UNPARK, subscriber, place.tx, place.seq)

    def _declared(self, subscriber: str) -> FactLog:
        log = self._logs.get(subscriber)
        if log is None:
            raise NoSuchSubscriber
        return log

    async def _now(self) -> Place:
        (row,) = await self._rows(_NOW)
        return Place(row["tx"], row["seq"])

    async def _line(self, name: str) -> SubscriberLine:
        log = self._logs.get(name)
        (standing,) = await self._rows(_STANDING, name)
        (counts,) = await self._rows(COUNTS, name, log.names if log else [])
        behind = counts["behind"] if log else None
        return SubscriberLine(name, log is not None, standing["lanes"], behind, counts["parked"], counts["dead"], standing["moved_at"])

    async def _rows(self, sql: str, *arguments: Any) -> Sequence[Any]:
        return await self._database.reader(SYSTEM).rows(sql, arguments)


def _line(row: Any) -> EventLine:
    return EventLine(**{**dict(row), "payload": msgspec.Raw(row["payload"])})


def _about(event: UUID) -> tuple[datetime, datetime]:
    """When a fact of this id was recorded, roughly: ids of ours begin with their milliseconds, which spares the other months."""
    if event.version != 7:
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    at = datetime.fromtimestamp((event.int >> 80) / 1000, UTC)
    return at - _DAY, at + _DAY
