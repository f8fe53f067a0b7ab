"""The one connection over which migrations run: the owner's, short of patience, and alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg
import msgspec

from fortress.errors import CannotStart

if TYPE_CHECKING:
    # Only who migrates loads them; every server loads this module.
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncConnection

Say = Callable[[str], None]

_LOCK_KEY: Final = 0x666F727472657373
_CONNECT_SECONDS: Final = 10.0
LOCK_NOT_AVAILABLE: Final = "55P03"
DEADLOCK: Final = "40P01"
BUSY: Final = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK})


def quiet(line: str) -> None:
    """Says nothing."""


class MigrationFailed(CannotStart):
    """A migration could not be run; what it did is rolled back."""


class Patience(msgspec.Struct, frozen=True):
    """How long a migration may hold others up, and how often it comes back.

    Attributes:
        lock_timeout: seconds that one statement waits for a lock; whoever comes later waits behind it, so this bounds their stall.
        statement_timeout: seconds that one statement may take.
        tries: how often a migration is begun before it is given up.
        first_pause, longest_pause: seconds between two tries; they double, and a third is left to chance.
        turn: seconds to wait for another migrator to finish.
    """

    lock_timeout: float = 0.5
    statement_timeout: float = 5.0
    tries: int = 20
    first_pause: float = 0.2
    longest_pause: float = 5.0
    turn: float = 120.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the given try, counted from 1."""
        longest = min(self.longest_pause, self.first_pause * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.67, 1.0)  # noqa: S311 (spreads tries, hides nothing)


@asynccontextmanager
async def owner_connection(owner_url: str, patience: Patience) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection as the owner, with the timeouts that schema changes need.

    Raises:
        CannotStart: the database can't be reached.
    """
    connection = await _connect(owner_url, patience)
    try:
        yield connection
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)


class Session(msgspec.Struct, frozen=True):
    """One connection, seen by Alembic and seen plainly; outside of a migration neither has a transaction open."""

    alembic: AsyncConnection
    plain: asyncpg.Connection


@asynccontextmanager
async def migrator_session(owner_url: str, patience: Patience) -> AsyncIterator[Session]:
    """The same for Alembic, held by one migrator at a time; nothing stays open when it ends.

    Raises:
        CannotStart: the database can't be reached, or another migrator did not finish in time.
    """
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def connect() -> asyncpg.Connection:
        return await _connect(owner_url, patience)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            plain = (await connection.get_raw_connection()).driver_connection
            assert isinstance(plain, asyncpg.Connection)
            await _wait_for_turn(plain, patience)
            yield Session(connection, plain)
    finally:
        await engine.dispose()


async def _connect(owner_url: str, patience: Patience) -> asyncpg.Connection:
    settings = {
        "application_name": "fortress migrate",
        "lock_timeout": f"{int(patience.lock_timeout * 1000)}ms",
        "statement_timeout": f"{int(patience.statement_timeout * 1000)}ms",
        "search_path": "public",
        "timezone": "UTC",
    }
    try:
        return await asyncpg.connect(owner_url, timeout=_CONNECT_SECONDS, statement_cache_size=0, server_settings=settings)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotStart(f"the database can't be reached as its owner: {error}", hint="see FORTRESS_DATABASE_OWNER_URL") from None


async def _wait_for_turn(connection: asyncpg.Connection, patience: Patience) -> None:
    # Asking again and again, not waiting inside pg_advisory_lock: a waiting statement holds a snapshot, and CREATE INDEX
    # CONCURRENTLY in the migrator that has the lock would wait for that snapshot for ever.
    pause = 0.1
    for _ in range(max(1, int(patience.turn / pause))):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
            return
        await asyncio.sleep(pause)
    raise CannotStart(f"another migration has been running for {patience.turn:g} s", hint="fortress migrate status shows how far it is")


def sqlstate(error: DBAPIError) -> str:
    """The five characters by which PostgreSQL names an error; empty when there are none."""
    return str(getattr(error.orig, "sqlstate", "") or "")
