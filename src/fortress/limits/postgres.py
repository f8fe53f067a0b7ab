"""Limits counted in PostgreSQL: one statement, one row, one round trip; exact at READ COMMITTED.

The table is UNLOGGED: a count that a crash of the server forgets is no loss, and its writes cost no WAL. Only the primary key
is indexed and pages are half empty, so that updates stay on their page (HOT) and leave nothing for vacuum to do.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, Protocol

from fortress.limits.gcra import Rate, check_demand
from fortress.limits.store import Taken, taken

TABLE: Final = "limit_buckets"
SWEPT: Final = 1000
IDLE_SECONDS: Final = 60

_CREATE: Final = """\
CREATE UNLOGGED TABLE limit_buckets (
    key     bytea   PRIMARY KEY,
    tat     bigint  NOT NULL,
    taken   bigint  NOT NULL,
    granted integer NOT NULL,
    used    bigint  NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.5
)"""
_DROP: Final = "DROP TABLE IF EXISTS limit_buckets"

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

# $1 key, $2 emission, $3 quota, $4 wanted, $5 least, $6 held (microseconds), $7 life, $8 returned.
# The clock is read inside the SET's sub-select: that runs once the row is locked, so waiting for the lock can't date a
# decision back. `granted` and `used` are columns because RETURNING sees the new row only.
_TAKE: Final = f"""\
INSERT INTO limit_buckets AS b (key, tat, taken, granted, used)
SELECT $1::bytea, now + n * $2::bigint, now, n, n * $2::bigint
FROM (SELECT {_NOW} AS now, CASE WHEN $3::bigint >= $5::bigint THEN LEAST($4::bigint, $3::bigint) ELSE 0 END AS n) AS fresh
ON CONFLICT (key) DO UPDATE SET (tat, taken, granted, used) = (
    SELECT CASE WHEN n > 0 OR $4::bigint = 0 THEN now + used_before + n * $2::bigint ELSE b.tat END,
           CASE WHEN n > 0 OR $4::bigint = 0 THEN now ELSE b.taken END,
           n,
           used_before + n * $2::bigint
    FROM (
        SELECT now, used_before, CASE WHEN free >= $5::bigint THEN LEAST($4::bigint, free) ELSE 0 END AS n
        FROM (
            SELECT now, used_before, ($2::bigint * $3::bigint - used_before) / $2::bigint AS free
            FROM (
                SELECT now, GREATEST(0, LEAST($2::bigint * $3::bigint, GREATEST(0, b.tat - now, held)) - back) AS used_before
                FROM (
                    SELECT now,
                           CASE WHEN now < b.taken + $7::bigint THEN LEAST($6::bigint, b.tat - b.taken) ELSE 0 END AS held,
                           CASE WHEN now < b.taken + $7::bigint THEN $2::bigint * $8::bigint ELSE 0 END AS back
                    FROM (SELECT {_NOW} AS now) AS clock
                ) AS leased
            ) AS spent
        ) AS counted
    ) AS decided
)
RETURNING granted, used"""  # noqa: S608 (constants of this file only)

_PING: Final = "SELECT 1 FROM limit_buckets LIMIT 1"

# SKIP LOCKED: a key that is in use at this moment is not idle, and is not waited for.
_SWEEP: Final = f"""\
WITH idle AS (
    SELECT key FROM limit_buckets
    WHERE GREATEST(tat, taken) < {_NOW} - {IDLE_SECONDS} * 1000000::bigint
    LIMIT {SWEPT} FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM limit_buckets USING idle WHERE limit_buckets.key = idle.key RETURNING 1
)
SELECT count(*) FROM gone"""  # noqa: S608 (constants of this file only)


class Runner(Protocol):
    """Runs one statement in a transaction of its own, at READ COMMITTED, and commits it."""

    def fetchrow(self, sql: str, /, *args: Any) -> Awaitable[Any]:
        """The first row, by position; None when there is none."""
        ...


class PostgresStore:
    """A LimitStore on the table that `create_sql` makes."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def take(self, key: bytes, rate: Rate, wanted: int, least: int = 1, returned: int = 0) -> Taken:
        check_demand(wanted, least, returned)
        held = rate.held * rate.emission
        row = await self._runner.fetchrow(_TAKE, key, rate.emission, rate.quota, wanted, least, held, rate.life, returned)
        return taken(rate, row[0], row[1], least)

    async def ping(self) -> None:
        await self._runner.fetchrow(_PING)

    async def sweep(self) -> int:
        row = await self._runner.fetchrow(_SWEEP)
        return int(row[0])


def create_sql() -> str:
    """The DDL of the table, for a migration. The app's role needs SELECT, INSERT, UPDATE and DELETE on it."""
    return _CREATE


def drop_sql() -> str:
    """What takes it back."""
    return _DROP
