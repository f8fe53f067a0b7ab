"""What a subscriber asks of the log: the facts that come next in its lanes, in the order of their commits.

A lane belongs to whoever holds its advisory lock, until the end of that transaction. Such a lock, unlike one on a row, gives the
transaction no id before it writes, so that a batch that is being worked on does not hold back what others may read.
Nothing here scans what lies before a place: each question is O(log n) in the log for each of its months, and linear in what it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from zlib import crc32

import msgspec

from fortress.data import Reader, Unit
from fortress.errors import FortressError
from fortress.events.subscribers import Subscriber

Rows = Sequence[Any]

# The last byte of an id is random in every version of them that we make.
_LANE_OF: Final = "get_byte(uuid_send(aggregate), 15)"
_COLUMNS: Final = (
    f"id, at, name, version, aggregate, actor_id, request_id, payload::text AS payload, tx::text::bigint AS tx, seq, {_LANE_OF} AS chance"
)
_REGISTER: Final = """
INSERT INTO subscriber_lanes (subscriber, lane, lanes, tx, seq)
SELECT $1, lane, $2, CASE WHEN $3 THEN '0'::xid8 ELSE {now} END, 0 FROM generate_series(0, $2::bigint - 1) AS lane
WHERE NOT EXISTS (SELECT FROM subscriber_lanes WHERE subscriber = $1)"""
_CLAIM: Final = """
WITH behind AS MATERIALIZED (SELECT lane FROM subscriber_lanes WHERE subscriber = $1 ORDER BY tx, seq, lane)
SELECT lane, set_config('enable_sort', 'off', true) FROM behind WHERE pg_try_advisory_xact_lock($2, lane::int) LIMIT $3"""
_PLACES: Final = """
SELECT lane, lanes, tx::text::bigint AS tx, seq, {horizon}::text::bigint AS horizon,
    EXISTS (SELECT FROM events WHERE tx >= {horizon} AND name = ANY($3::text[])) AS held
FROM subscriber_lanes WHERE subscriber = $1 AND lane = ANY($2::bigint[])"""
_SPLIT: Final = "SELECT lanes FROM subscriber_lanes WHERE subscriber = $1 LIMIT 1"
_LOOK: Final = """
WITH low AS (SELECT tx, seq FROM subscriber_lanes WHERE subscriber = $1 ORDER BY tx, seq LIMIT 1)
SELECT
    (SELECT at FROM events WHERE (tx, seq) > ((SELECT tx FROM low), (SELECT seq FROM low)) AND tx < {horizon}
        AND name = ANY($2::text[]) ORDER BY tx, seq LIMIT 1) AS oldest,
    (SELECT at FROM events WHERE tx >= {horizon} AND name = ANY($2::text[]) ORDER BY tx, seq LIMIT 1) AS held,
    (SELECT min(due) FROM parked_facts WHERE subscriber = $1 AND state = 'waiting') AS due"""
# Ordered by the columns and not by what is given under their names: only so the index gives the order. The claim keeps the planner
# from reading and sorting all that lies ahead, which it takes for little as long as it has not counted a new backlog.
NEXT: Final = f"""
WITH back AS MATERIALIZED (SELECT set_config('enable_sort', 'on', true) AS sorts)
SELECT {_COLUMNS}, (SELECT sorts FROM back) AS sorts,
    EXISTS (SELECT FROM parked_facts p WHERE p.subscriber = $1 AND p.aggregate = events.aggregate AND p.state <> 'dead') AS behind
FROM events
WHERE (tx, seq) > ($2::bigint::text::xid8, $3::bigint) AND tx < $4::bigint::text::xid8 AND name = ANY($5::text[])
    AND {_LANE_OF} % $6::bigint = ANY($7::bigint[])
ORDER BY events.tx, events.seq LIMIT $8"""  # noqa: S608 (constants only)
# Only from where it stood: whoever moved it in between is right.
_MOVE: Final = """
UPDATE subscriber_lanes AS l SET tx = $5::bigint::text::xid8, seq = $6, moved_at = now()
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS was (lane, tx, seq)
WHERE l.subscriber = $1 AND l.lane = was.lane AND (l.tx, l.seq) = (was.tx::text::xid8, was.seq) RETURNING 1"""
_FORGET: Final = "DELETE FROM subscriber_lanes WHERE subscriber = $1 RETURNING 1"
_CUT: Final = """
INSERT INTO subscriber_lanes (subscriber, lane, lanes, tx, seq)
SELECT $1, lane, $2, $3::bigint::text::xid8, $4 FROM generate_series(0, $2::bigint - 1) AS lane RETURNING 1"""
_LOCK: Final = "SELECT pg_advisory_xact_lock($1, $2)"
_REGISTERING: Final = -1


class Moved(FortressError):
    """Somebody has set the subscriber's place in the log meanwhile; nothing of the batch is kept."""


class Place(msgspec.Struct, frozen=True, order=True):
    """How far somebody has come: behind the fact of this transaction and number. (n, 0): all below transaction n."""

    tx: int
    seq: int


class Lanes(msgspec.Struct, frozen=True):
    """The lanes that a transaction holds.

    Attributes:
        places: by lane.
        split: into how many lanes the subscriber's work is cut.
        horizon: below it no transaction runs any more.
        held: whether facts are committed above it, that wait for an older transaction.
    """

    places: dict[int, Place]
    split: int
    horizon: int
    held: bool

    @property
    def lowest(self) -> Place:
        """The place of the one that is furthest behind."""
        return min(self.places.values())

    @property
    def whole(self) -> bool:
        """Whether these are all lanes, and all at one place."""
        return len(self.places) == self.split and len(set(self.places.values())) == 1


class Found(msgspec.Struct, frozen=True):
    """Facts that come next.

    Attributes:
        reached: the place behind them.
        full: whether there may be more.
    """

    rows: Rows
    reached: Place
    full: bool


class Look(msgspec.Struct, frozen=True):
    """What there is to do for a subscriber.

    Attributes:
        oldest: when the first fact was recorded that it can handle now; None: there is none.
        held: the same of those that wait for an older transaction to end.
        due: when the first of its parked facts is to be tried again.
    """

    oldest: datetime | None
    held: datetime | None
    due: datetime | None


class FactLog:
    """The log, to those who follow it.

    Args:
        names: of all facts that this subscriber hears.
    """

    now = "pg_snapshot_xmin(pg_current_snapshot())"
    horizon = "pg_snapshot_xmin(pg_current_snapshot())"

    def __init__(self, subscriber: Subscriber, names: Sequence[str]) -> None:
        self.subscriber = subscriber
        self.names = list(names)
        self._name = subscriber.name
        self.key = lock_key(subscriber.name)
        self._register = _REGISTER.format(now=self.now)
        self._places = _PLACES.format(horizon=self.horizon)
        self._look = _LOOK.format(horizon=self.horizon)

    async def register(self, unit: Unit) -> None:
        """Give the subscriber its place, if it has none: at the end of the log, or at its start."""
        await unit.run(_LOCK, self.key, _REGISTERING)
        await unit.run(self._register, self._name, self.subscriber.lanes, self.subscriber.from_start)

    async def claim(self, unit: Unit, most: int) -> Lanes | None:
        """Up to so many of the lanes that nobody works on, the furthest behind first; None when there is none."""
        # Two statements: the second one sees what the last holder has committed.
        claimed = [row["lane"] for row in await unit.rows(_CLAIM, [self._name, self.key, most])]
        return await self.lanes(unit, claimed) if claimed else None

    async def claim_of(self, unit: Unit, lane: int) -> Lanes | None:
        """This lane, or None while somebody else works on it."""
        rows = await unit.rows("SELECT pg_try_advisory_xact_lock($1, $2) AS mine", [self.key, lane])
        return await self.lanes(unit, [lane]) if rows[0]["mine"] else None

    async def lanes(self, unit: Unit, claimed: Sequence[int]) -> Lanes | None:
        """How far these lanes have come."""
        rows = await unit.rows(self._places, [self._name, claimed, self.names])
        if not rows:
            return None
        places = {row["lane"]: Place(row["tx"], row["seq"]) for row in rows}
        return Lanes(places, rows[0]["lanes"], rows[0]["horizon"], rows[0]["held"])

    async def split(self, unit: Unit) -> int | None:
        """Into how many lanes the work is cut; None when the subscriber has no place."""
        rows = await unit.rows(_SPLIT, [self._name])
        return rows[0]["lanes"] if rows else None

    async def look(self, reader: Reader) -> Look:
        """What there is to do; one round trip, no lock."""
        (row,) = await reader.rows(self._look, [self._name, self.names])
        return Look(row["oldest"], row["held"], row["due"])

    async def next(self, unit: Unit, lanes: Lanes, most: int) -> Found:
        """The next facts in these lanes."""
        low = lanes.lowest
        arguments = [self._name, low.tx, low.seq, lanes.horizon, self.names, lanes.split, list(lanes.places), most]
        found = await unit.rows(NEXT, arguments)
        # A lane that is further than the others has heard some of these.
        heard = [row for row in found if Place(row["tx"], row["seq"]) > lanes.places[row["chance"] % lanes.split]]
        last = Place(found[-1]["tx"], found[-1]["seq"]) if found else None
        full = len(found) == most
        return Found(heard, last if last and full else self.end(lanes, last), full)

    def end(self, lanes: Lanes, last: Place | None) -> Place:
        """The place behind all that there is; `last` is that of the last fact."""
        del last
        return Place(lanes.horizon, 0)

    async def move(self, unit: Unit, lanes: Lanes, reached: Place) -> None:
        """Note down how far the lanes have come. Raises Moved."""
        was = {lane: place for lane, place in lanes.places.items() if place < reached}
        if not was:
            return
        columns = [list(was), [place.tx for place in was.values()], [place.seq for place in was.values()]]
        moved = await unit.run(_MOVE, self._name, *columns, reached.tx, reached.seq)
        if len(moved) < len(was):
            raise Moved(f"somebody has set the place of {self._name}")

    async def cut_anew(self, unit: Unit, lanes: Lanes) -> None:
        """Cut the work into as many lanes as are declared now; these are all the old ones, and stand at one place."""
        place = lanes.lowest
        await unit.run(_FORGET, self._name)
        await unit.run(_CUT, self._name, self.subscriber.lanes, place.tx, place.seq)


def lock_key(name: str) -> int:
    """What the advisory locks of a subscriber go by; two that share one only wait for each other now and then."""
    return crc32(name.encode()) - 2**31
