"""A database whose every change is gone after the test: one connection in one transaction that never commits.

What differs from the real one, so that a test can choose:

- Units are savepoints. One that begins inside another's block is part of it; others wait for each other.
- Readers see what the unit around them has not committed yet. They still can't write.
- Nothing is delivered: NOTIFY is sent at a commit, and there is none.
- All units have one transaction id and one `now()`, and run at READ COMMITTED.
- Constraints that are deferred to the commit are never looked at.

A test of any of these takes a database of its own instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

import asyncpg

from fortress.clock import SystemClock
from fortress.data import Database
from fortress.data.connections import Connection, Kept, ReadConnections, Traffic, Unobserved
from fortress.data.refusals import UnitFailed, refusal
from fortress.data.unit import Tools
from fortress.errors import Unavailable
from fortress.settings import Settings

# The time between two statements of a test is nobody's mistake.
_BEGIN: Final = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0"
# PostgreSQL gives the outer transaction its mode back when the savepoint ends.
_READ_ONLY: Final = "; SET LOCAL transaction_read_only = on"


class RolledBackDatabase(Database):
    """Stands in for `Database` in one test: `async with` it, and nothing is left of what was written inside.

    Raises:
        Unavailable: work waited longer than the settings' `database_wait` for other work on the one connection.
    """

    def __init__(self, url: str, settings: Settings, **parts: Any) -> None:
        super().__init__(url, settings, **parts)
        self._wait = settings.database_wait

    async def start(self) -> None:
        """Begin the transaction. Raises CannotStart."""
        await super().start()
        self._pool = self.writers
        self._outer = await self._pool.acquire()
        await self._outer.connection.execute(_BEGIN)
        one = OneConnection(self._outer, self._traffic, self._wait)
        self.readers = self.writers = one
        self._tools = Tools(one, one, self._tools.cursors, self._tools.journal, self.personal)

    async def close(self) -> None:
        """Take everything back."""
        # The server rolls back what a closed connection left open, whatever state it was in.
        self._pool.discard(self._outer)
        await self._pool.close()


class Level:
    """An open unit, or the whole test; whoever holds the lock may use the connection at this depth."""

    __slots__ = ("lock", "name", "open", "outer", "pool")

    def __init__(self, pool: OneConnection, name: str, outer: Level | None) -> None:
        self.pool = pool
        self.name = name
        self.outer = outer
        self.lock = asyncio.Lock()
        self.open = True

    @property
    def broken(self) -> bool:
        """Whether a unit around this one ended first, and took it along."""
        return self.outer is not None and (not self.outer.open or self.outer.broken)


_inside: ContextVar[Level | None] = ContextVar("_inside", default=None)


class Nested(Kept):
    """The connection as one unit sees it: its BEGIN, COMMIT and ROLLBACK are a savepoint's."""

    __slots__ = ("level",)

    def __init__(self, outer: Kept, level: Level, traffic: Traffic) -> None:
        super().__init__(outer.connection, traffic)
        # Prepared once for all units, as on a connection that is kept.
        self._prepared = outer._prepared  # noqa: SLF001
        self.level = level

    async def run(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        async with self.level.pool.turn(self.level):
            try:
                return await super().run(sql, arguments)
            except BaseException:
                # What failed can be read around at once, as on another connection.
                await self.level.pool.send(f"ROLLBACK TO SAVEPOINT {self.level.name}")
                raise

    async def command(self, sql: str) -> str:
        """A unit's ROLLBACK."""
        if self.level.broken:
            return sql
        await self._end(_undo(self.level.name))
        return sql

    async def commit(self, notices: Iterable[str] = ()) -> str:
        del notices
        await self._end(f"RELEASE SAVEPOINT {self.level.name}")
        return "COMMIT"

    async def _end(self, sql: str) -> None:
        self._traffic.round_trips += 1
        async with self.level.pool.turn(self.level):
            await self.level.pool.send(sql)


class OneConnection(ReadConnections):
    """Stands in for both pools, on one connection in an open transaction."""

    def __init__(self, outer: Kept, traffic: Traffic, wait: float) -> None:
        super().__init__("rolled back", _refuse, size=1, wait=wait, traffic=traffic, clock=SystemClock(), observer=Unobserved())
        self._outer = outer
        self._test = Level(self, "", None)
        self._names = (f"s{number}" for number in count(1))
        self._left: list[str] = []

    async def begin(self, sql: str) -> Nested:
        """A savepoint inside the unit around the caller, once nobody else is at work there; the isolation stays as it is."""
        del sql
        self._traffic.round_trips += 1
        outer = self._around()
        await self._acquire(outer)
        level = Level(self, next(self._names), outer)
        try:
            await self.send(f"SAVEPOINT {level.name}")
        except BaseException:
            self._left.append(level.name)
            outer.lock.release()
            raise
        _inside.set(level)
        return Nested(self._outer, level, self._traffic)

    def release(self, kept: Kept) -> None:
        """The unit is over and its savepoint gone."""
        level = _level_of(kept)
        level.open = False
        if level.outer is not None:
            level.outer.lock.release()

    def discard(self, kept: Kept) -> None:
        """The unit broke off: whoever comes next takes back what it did."""
        level = _level_of(kept)
        if not level.broken:
            self._left.append(level.name)
        self.release(kept)

    async def once(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        """One statement in a savepoint of its own. Raises what the driver raises."""
        return await self._alone(sql, arguments, mode="")

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        """The rows, as they are in the middle of the test; what writes is refused."""
        try:
            return await self._alone(sql, arguments, mode=_READ_ONLY)
        except Exception as error:
            raise refusal(error) from None

    @asynccontextmanager
    async def turn(self, level: Level) -> AsyncIterator[None]:
        """The connection, when nobody else is at work at this depth."""
        await self._acquire(level)
        try:
            yield
        finally:
            level.lock.release()

    async def send(self, sql: str) -> None:
        """A command that is seen through to its end, so that it is known where the transaction stands."""
        sent = asyncio.ensure_future(self._outer.connection.execute(sql))
        try:
            await asyncio.shield(sent)
        except asyncio.CancelledError:
            await asyncio.wait([sent])
            raise

    async def _alone(self, sql: str, arguments: Sequence[Any], mode: str) -> list[asyncpg.Record]:
        async with self.turn(self._around()):
            name = next(self._names)
            try:
                await self.send(f"SAVEPOINT {name}{mode}")
                rows = await self._outer.run(sql, arguments)
                await self.send(f"RELEASE SAVEPOINT {name}")
            except BaseException:
                await self.send(_undo(name))
                raise
            return rows

    def _around(self) -> Level:
        """The innermost unit that this task, or the one that started it, is in."""
        level = _inside.get()
        while level is not None and not level.open:
            level = level.outer
        return level if level is not None and level.pool is self else self._test

    async def _acquire(self, level: Level) -> None:
        try:
            async with asyncio.timeout(self._wait):
                await level.lock.acquire()
        except TimeoutError:
            raise Unavailable("Other work holds the test's one connection; a unit can't go on while another is open inside it") from None
        try:
            while self._left:
                await self.send(_undo(self._left.pop(0)))
            if level.broken:
                raise UnitFailed("the unit around this one has ended; nothing of either is kept")
        except BaseException:
            level.lock.release()
            raise


def _undo(name: str) -> str:
    return f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"


def _level_of(kept: Kept) -> Level:
    if not isinstance(kept, Nested):
        raise TypeError("only units hold this connection")
    return kept.level


async def _refuse() -> Connection:
    raise Unavailable("The connection is lent to units only")
