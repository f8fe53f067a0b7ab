"""Big tables are cut by month: partitions are made ahead, what went astray is put right, and what is too old is dropped.

A row for which no partition was made lands in the default partition: nothing is lost and no insert fails, but the default must
stay empty, so it is counted (`default_rows`). The same work that makes partitions ahead empties it. All months are UTC's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import asyncpg
import msgspec

from fortress.clock import Clock
from fortress.data.roles import reader_grants_only

if TYPE_CHECKING:
    from sqlalchemy import Table

T = TypeVar("T")

_LOCK_KEY: Final = 0x70617274_6974696F
_MOST_PIECES: Final = 500
_MOST_COUNTED: Final = 100_000
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_BOUNDS: Final = re.compile(r"FROM \((?P<low>[^)]*)\) TO \((?P<high>[^)]*)\)")
_RANGE: Final = re.compile(r"RANGE \((\w+)\)")

_CHILDREN: Final = """
SELECT c.oid::regclass::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass($1)"""
_COLUMNS: Final = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""


class Partitioned(msgspec.Struct, frozen=True):
    """A table that is cut by month.

    Attributes:
        table: its name.
        column: the timestamp by which it is cut.
        keep_months: whole months that are kept beside the present one; None keeps all.
    """

    table: str
    column: str
    keep_months: int | None = None

    @property
    def default(self) -> str:
        """The partition of what fits nowhere else."""
        return f"{self.table}_default"


class Span(msgspec.Struct, frozen=True, order=True):
    """A stretch of time; its end is not part of it."""

    start: datetime
    end: datetime


def partitioned(tables: Iterable[Table]) -> tuple[Partitioned, ...]:
    """Those of the tables that are declared as cut by a timestamp; `keep_months` is read from the table's `info`."""
    found = []
    for table in tables:
        match = _RANGE.fullmatch(str(table.dialect_options["postgresql"]["partition_by"] or ""))
        if match:
            found.append(Partitioned(table.name, match[1], table.info.get("keep_months")))
    return tuple(found)


class Partitions:
    """The months of all such tables. Runs on the owner's connection: the app's role may not make or drop tables.

    Any number of processes may do it at once; each change is one short transaction that gives up at `lock_timeout` and comes again.

    Args:
        tables: what is cut.
        clock: whose present month is meant.
        ahead: months made in advance.
        piece_rows: rows that are moved out of the default at once; it bounds how long one move holds others up.
        lock_timeout: seconds to wait for a lock.
        tries: how often a change is begun before it is left for the next time.
    """

    def __init__(
        self,
        tables: Sequence[Partitioned],
        clock: Clock,
        *,
        ahead: int = 3,
        piece_rows: int = 20_000,
        lock_timeout: float = 0.5,
        tries: int = 10,
    ) -> None:
        self.tables = tuple(tables)
        self._clock = clock
        self._ahead = ahead
        self._piece_rows = piece_rows
        self._lock_timeout = lock_timeout
        self._tries = tries

    async def ensure(self, connection: asyncpg.Connection) -> list[str]:
        """Make what is missing: the default, this month and those ahead, and the months of rows that went astray.

        Returns:
            The names of the partitions that were made.

        Raises:
            asyncpg.LockNotAvailableError: a long transaction was in the way in all tries; what is made stays, the rest is for next time.
        """
        made: list[str] = []
        for table in self.tables:
            for _ in range(_MOST_PIECES):
                name = await self._patiently(connection, partial(self._make_next, connection, table))
                if name is None:
                    break
                made.append(name)
        return made

    async def retire(self, connection: asyncpg.Connection) -> list[str]:
        """Drop the partitions that lie wholly before what is kept.

        Returns:
            The names of the partitions that were dropped.

        Raises:
            asyncpg.LockNotAvailableError: as `ensure`.
        """
        gone: list[str] = []
        for table in self.tables:
            if table.keep_months is None:
                continue
            oldest = _month(self._clock.now(), -table.keep_months).start
            for name, span in await self._spans(connection, table):
                if span.end <= oldest:
                    # Dropped without a concurrent detach, which PostgreSQL refuses where there is a default partition.
                    await self._patiently(connection, partial(connection.execute, f"DROP TABLE IF EXISTS {name}"))
                    gone.append(name)
        return gone

    async def default_rows(self, connection: asyncpg.Connection) -> dict[str, int]:
        """Rows in each table's default partition, counted up to 100,000; anything but 0 needs `ensure`."""
        counted = {}
        for table in self.tables:
            if await connection.fetchval("SELECT to_regclass($1)", table.default) is None:
                counted[table.table] = 0
                continue
            rows = f"(SELECT FROM {table.default} LIMIT {_MOST_COUNTED}) AS counted"
            counted[table.table] = await connection.fetchval(f"SELECT count(*) FROM {rows}")  # noqa: S608
        return counted

    async def _patiently(self, connection: asyncpg.Connection, change: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, self._tries + 1):
            try:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {int(self._lock_timeout * 1000)}")
                    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
                    return await change()
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.CheckViolationError):
                # The last of them: a row went astray just now, from a clock that is ahead of ours.
                if attempt == self._tries:
                    raise
            await asyncio.sleep(min(2.0, 0.1 * 2**attempt))
        raise AssertionError("the last try returns or raises")

    async def _make_next(self, connection: asyncpg.Connection, table: Partitioned) -> str | None:
        """The first partition that is missing, made; None when there is none, or no such table yet."""
        if await connection.fetchval("SELECT to_regclass($1)", table.table) is None:
            return None
        if await connection.fetchval("SELECT to_regclass($1)", table.default) is None:
            await connection.execute(f"CREATE TABLE {table.default} PARTITION OF {table.table} DEFAULT")
            await reader_grants_only(connection, table.default)
            return table.default
        taken = [span for _, span in await self._spans(connection, table)]
        for month in await self._wanted(connection, table):
            for gap in _gaps(month, taken):
                return await self._fill(connection, table, gap)
        return None

    async def _wanted(self, connection: asyncpg.Connection, table: Partitioned) -> list[Span]:
        now = self._clock.now()
        months = {_month(now, offset) for offset in range(self._ahead + 1)}
        astray = await connection.fetch(
            f"SELECT DISTINCT date_trunc('month', {table.column}, 'UTC') FROM {table.default} "  # noqa: S608
            f"WHERE isfinite({table.column}) LIMIT {_MOST_PIECES}"
        )
        return sorted(months | {_month(row[0], 0) for row in astray})

    async def _fill(self, connection: asyncpg.Connection, table: Partitioned, gap: Span) -> str:
        """One partition for the gap, or for its first part when the default holds too many rows of it to be moved at once."""
        if _month(gap.start, 0).start <= self._clock.now() or await self._astray(connection, table, gap):
            # Inserts wait here, before they are routed. One that was routed to the default already would fail there
            # once the default no longer takes its month.
            await connection.execute(f"LOCK TABLE {table.table} IN SHARE ROW EXCLUSIVE MODE")
        piece = Span(gap.start, await self._split(connection, table, gap))
        name = _name(table, piece)
        like = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE"
        await connection.execute(f"CREATE TABLE {name} (LIKE {table.table} {like})")
        await reader_grants_only(connection, name)
        columns = await connection.fetchval(_COLUMNS, table.table)
        within = f"{table.column} >= $1 AND {table.column} < $2"
        await connection.execute(
            f"WITH moved AS (DELETE FROM {table.default} WHERE {within} RETURNING {columns}) "  # noqa: S608
            f"INSERT INTO {name} ({columns}) SELECT {columns} FROM moved",
            piece.start,
            piece.end,
        )
        bounds = f"FROM ('{piece.start.isoformat()}') TO ('{piece.end.isoformat()}')"
        await connection.execute(f"ALTER TABLE {table.table} ATTACH PARTITION {name} FOR VALUES {bounds}")
        return name

    async def _astray(self, connection: asyncpg.Connection, table: Partitioned, gap: Span) -> bool:
        within = f"{table.column} >= $1 AND {table.column} < $2"
        query = f"SELECT EXISTS (SELECT FROM {table.default} WHERE {within})"  # noqa: S608
        return bool(await connection.fetchval(query, gap.start, gap.end))

    async def _split(self, connection: asyncpg.Connection, table: Partitioned, gap: Span) -> datetime:
        """Where the partition ends that takes the default's next `piece_rows` rows of the gap."""
        column = table.column
        rows = f"FROM {table.default} WHERE {column} < $2 AND {column}"
        last = await connection.fetchval(
            f"SELECT {column} {rows} >= $1 ORDER BY {column} OFFSET $3 LIMIT 1",
            gap.start,
            gap.end,
            self._piece_rows,
        )
        if last == gap.start:
            last = await connection.fetchval(f"SELECT min({column}) {rows} > $1", gap.start, gap.end)
        return last or gap.end

    async def _spans(self, connection: asyncpg.Connection, table: Partitioned) -> list[tuple[str, Span]]:
        children = await connection.fetch(_CHILDREN, table.table)
        found = [(row["name"], _BOUNDS.search(row["bounds"])) for row in children]
        spans = [(name, Span(_bound(bounds["low"], _FIRST), _bound(bounds["high"], _LAST))) for name, bounds in found if bounds]
        return sorted(spans, key=lambda named: named[1])


def _month(at: datetime, offset: int) -> Span:
    """The UTC month that is `offset` months after the one of `at`."""
    utc = at.astimezone(UTC)
    return Span(_first_of(utc.year * 12 + utc.month - 1 + offset), _first_of(utc.year * 12 + utc.month + offset))


def _first_of(months: int) -> datetime:
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC) if months < (_LAST.year + 1) * 12 else _LAST


def _gaps(wanted: Span, taken: Sequence[Span]) -> list[Span]:
    """What of `wanted` no span covers; `taken` is sorted and doesn't overlap."""
    gaps, start = [], wanted.start
    for span in taken:
        if span.end <= start or span.start >= wanted.end:
            continue
        if span.start > start:
            gaps.append(Span(start, span.start))
        start = span.end
    if start < wanted.end:
        gaps.append(Span(start, wanted.end))
    return gaps


def _name(table: Partitioned, piece: Span) -> str:
    start = piece.start.astimezone(UTC)
    month = f"{table.table}_{start:%Y_%m}"
    return month if start == _month(start, 0).start else f"{month}_{start:%d_%H%M%S}_{start.microsecond:06}"


def _bound(text: str, open_end: datetime) -> datetime:
    return open_end if "VALUE" in text else datetime.fromisoformat(text.strip("'"))
