"""Kept connections: a small pool that costs a list pop on the way in and an append on the way out.

No reset query: nothing that a caller can reach sets session state, and whatever broke or was cancelled is closed
instead of kept. The last one back is the first one out, so that few stay warm.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from fortress.clock import Clock
from fortress.data.bus import CHANNEL
from fortress.data.refusals import is_clean, is_lost, is_stale_plan, refusal
from fortress.errors import Unavailable

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection
Connect = Callable[[], Awaitable[Connection]]

STATEMENTS: Final = 512
CLOSING: Final = 2.0
# The last one is what the driver raises when a connection dies in the middle of its own work on it.
_BROKEN: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.InternalClientError)


class PoolObserver(Protocol):
    """Who wants to know how long callers wait for a connection."""

    def waited(self, pool: str, seconds: float) -> None:
        """A caller had to wait so long; those who got one at once are not told."""
        ...


class Unobserved:
    """Nobody wants to know."""

    def waited(self, pool: str, seconds: float) -> None:
        del pool, seconds


class Traffic:
    """How often we asked the server: `round_trips` by statements, `prepares` for the first use of one on a connection."""

    __slots__ = ("prepares", "round_trips")

    def __init__(self) -> None:
        self.round_trips = 0
        self.prepares = 0


class Kept:
    """One connection and the statements prepared on it."""

    __slots__ = ("_execute", "_prepared", "_traffic", "connection", "used")

    def __init__(self, connection: Connection, traffic: Traffic) -> None:
        self.connection = connection
        self.used = False
        # asyncpg's own `fetch` of a prepared statement costs a tenth of a whole read for checks that a pool of our own
        # has made already; below it is this one call, with the connection's timeout.
        self._execute = connection._protocol.bind_execute  # type: ignore[attr-defined]  # noqa: SLF001
        self._prepared: dict[str, tuple[Any, PreparedStatement[asyncpg.Record]]] = {}
        self._traffic = traffic

    async def run(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        prepared = self._prepared.get(sql) or await self._prepare(sql)
        self._traffic.round_trips += 1
        rows: list[asyncpg.Record] = await self._execute(prepared[0], arguments, "", 0, False, None)
        return rows

    async def run_alone(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        """As `run`, outside a transaction: a statement refused before it began, as the schema has changed, is prepared anew."""
        try:
            return await self.run(sql, arguments)
        except asyncpg.InvalidCachedStatementError:
            self.forget_statements()
            return await self.run(sql, arguments)

    async def command(self, sql: str) -> str:
        """Run a statement without values, such as BEGIN; its tag."""
        self._traffic.round_trips += 1
        return await self.connection.execute(sql)

    async def commit(self, notices: Iterable[str] = ()) -> str:
        """Commit, and send these notices with it, in the same round trip; COMMIT's tag.

        They become part of the text: they must be our own and without a zero character.
        """
        told = "".join("NOTIFY {}, '{}'; ".format(CHANNEL, notice.replace("'", "''")) for notice in notices)
        return await self.command(told + "COMMIT")

    def forget_statements(self) -> None:
        """Prepare everything anew: the schema has changed."""
        self._prepared.clear()

    async def _prepare(self, sql: str) -> tuple[Any, PreparedStatement[asyncpg.Record]]:
        self._traffic.prepares += 1
        statement = await self.connection.prepare(sql)
        if len(self._prepared) >= STATEMENTS:
            del self._prepared[next(iter(self._prepared))]
        # The statement is kept beside its state: when it goes, the server is told to forget it.
        prepared = self._prepared[sql] = (statement._state, statement)  # type: ignore[attr-defined]  # noqa: SLF001
        return prepared


class Connections:
    """Up to `size` connections of one kind, opened when first needed.

    Args:
        name: for the metrics.
        wait: seconds to wait for one, a new one's opening included, before Unavailable.

    Attributes:
        waiting: callers in the queue.
        opened: connections opened since the start.
        closing: connections that are being closed and still hold their place.
    """

    def __init__(
        self, name: str, connect: Connect, *, size: int, wait: float, traffic: Traffic, clock: Clock, observer: PoolObserver
    ) -> None:
        self.name = name
        self.size = size
        self.opened = 0
        self.closing = 0
        self._connect = connect
        self._wait = wait
        self._traffic = traffic
        self._clock = clock
        self._observer = observer
        self._free: list[Kept] = []
        self._places = size
        self._queue: deque[asyncio.Future[Kept | None]] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        return len(self._free)

    @property
    def in_use(self) -> int:
        return self.size - self._places - len(self._free) - self.closing

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def acquire(self) -> Kept:
        """A connection; give it back by `release`, or by `discard` when it is not known to be in order.

        Raises:
            Unavailable: none came free in time, or none can be opened.
        """
        while self._free:
            kept = self._free.pop()
            if not kept.connection.is_closed():
                return kept
            self._places += 1
        if self._closed:
            raise Unavailable("The server is stopping")
        try:
            async with asyncio.timeout(self._wait):
                if not self._places:
                    return await self._next()
                self._places -= 1
                return await self._open()
        except TimeoutError:
            raise Unavailable("The database is too busy") from None

    def release(self, kept: Kept) -> None:
        """The connection is in order and out of any transaction."""
        kept.used = True
        if self._closed or kept.connection.is_closed():
            self.discard(kept)
            return
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(kept)
                return
        self._free.append(kept)

    def discard(self, kept: Kept) -> None:
        """Close the connection. Its place is free once the server has been told, so that it never holds more than `size`."""
        if kept.connection.is_closed():
            self._free_place()
            return
        self.closing += 1
        task = asyncio.get_running_loop().create_task(self._close(kept))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def once(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        """One statement in a transaction of its own. Raises what the driver raises."""
        kept = await self.acquire()
        try:
            rows = await kept.run_alone(sql, arguments)
        except BaseException as error:
            self.give_back(kept, error)
            raise
        self.release(kept)
        return rows

    async def begin(self, sql: str) -> Kept:
        """A connection in a transaction. One that died while it was kept is replaced, as nothing has happened on it yet."""
        while True:
            kept = await self.acquire()
            try:
                await kept.command(sql)
            except BaseException as error:
                self.give_back(kept, error)
                if not (kept.used and is_lost(error)):
                    raise refusal(error) from None
                self.drop_idle()
            else:
                return kept

    def give_back(self, kept: Kept, error: BaseException) -> None:
        """The connection after an error outside a transaction: kept when the server answered in order, else closed."""
        if is_clean(error):
            self.release(kept)
        else:
            self.discard(kept)

    def drop_idle(self) -> None:
        """Close what is kept: one was found dead, so the others probably are."""
        while self._free:
            self.discard(self._free.pop())

    async def close(self) -> None:
        """Close what is idle now and the others as they come back."""
        self._closed = True
        self.drop_idle()
        while self._closing:
            await asyncio.wait(self._closing)

    async def _open(self) -> Kept:
        """A new connection in a place that has been taken for it."""
        try:
            connection = await self._connect()
        except BaseException as error:
            self._free_place()
            if isinstance(error, _BROKEN):
                raise Unavailable("The database is not available just now") from None
            raise
        self.opened += 1
        return Kept(connection, self._traffic)

    async def _next(self) -> Kept:
        began = self._clock.monotonic()
        waiter: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            kept = await waiter
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise
        finally:
            self._observer.waited(self.name, self._clock.monotonic() - began)
        return kept or await self._open()

    def _pass_on(self, waiter: asyncio.Future[Kept | None]) -> None:
        """What a cancelled waiter was given just before goes to the next one."""
        if waiter.cancelled():
            with contextlib.suppress(ValueError):
                self._queue.remove(waiter)
        elif waiter.done():
            kept = waiter.result()
            if kept is None:
                self._free_place()
            else:
                self.release(kept)

    def _free_place(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                # The place is the waiter's from now on: nobody may take it before it runs.
                waiter.set_result(None)
                return
        self._places += 1

    async def _close(self, kept: Kept) -> None:
        try:
            await kept.connection.close(timeout=CLOSING)
        except _BROKEN:
            kept.connection.terminate()
        finally:
            self.closing -= 1
            self._free_place()


class ReadConnections(Connections):
    """Connections that can't write, on which a statement may therefore run twice."""

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[asyncpg.Record]:
        """The rows; on a connection that died or a schema that changed while it was kept, a second time.

        Raises:
            Unavailable: no connection, or no answer in time.
        """
        free = self._free
        kept = free.pop() if free and not free[-1].connection.is_closed() else await self.acquire()
        try:
            rows = await kept.run(sql, arguments)
        except BaseException as error:
            self.give_back(kept, error)
            if not self._worth_another(kept, error):
                raise refusal(error) from None
        else:
            if self._queue or self._closed or not kept.used:
                self.release(kept)
            else:
                free.append(kept)
            return rows
        try:
            return await self.once(sql, arguments)
        except Exception as error:
            raise refusal(error) from None

    def _worth_another(self, kept: Kept, error: BaseException) -> bool:
        if is_stale_plan(error):
            kept.forget_statements()
            return True
        if not kept.used or not is_lost(error) or isinstance(error, TimeoutError):
            return False
        self.drop_idle()
        return True
