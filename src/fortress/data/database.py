"""The database: where readers and units come from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Self

import asyncpg

from fortress.clock import Clock, Ids
from fortress.data.changes import Audience, News
from fortress.data.claims import claims
from fortress.data.connections import Connect, Connection, Connections, PoolObserver, ReadConnections, Traffic, Unobserved
from fortress.data.cursor import Cursors
from fortress.data.journal import Journal
from fortress.data.personal.vault import NoWrapping, Personal
from fortress.data.reader import Reader, Rows
from fortress.data.refusals import refusal
from fortress.data.unit import Isolation, Tools, Unit
from fortress.errors import CannotStart
from fortress.fact import Fact
from fortress.security.principal import Principal
from fortress.security.wrapping import Wrapping
from fortress.settings import Settings

OLDEST: Final = 15
GRACE: Final = 2.0


class Count:
    """Round trips since it was made."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._before = traffic.round_trips

    @property
    def round_trips(self) -> int:
        return self._traffic.round_trips - self._before


class Database:
    """One PostgreSQL, read and written through kept connections.

    Args:
        url: its address; what asyncpg understands of TLS and other parameters passes through.
        settings: the sizes of the pools and every timeout.
        secret: signs cursors; 16 to 64 bytes, the same in every process.
        role: what the connections act as; unset: whom they sign in as.
        schema: where the tables are.
        wrapping: what wraps people's keys; unset: nothing personal can be read or written.

    Attributes:
        readers, writers: the two pools, with their gauges.
        personal: the keys of personal data.
        remembered: what is kept of queries' answers, by query; for its readers.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        secret: bytes,
        clock: Clock,
        ids: Ids,
        role: str | None = None,
        schema: str = "public",
        observer: PoolObserver | None = None,
        wrapping: Wrapping | None = None,
    ) -> None:
        self._traffic = Traffic()
        session = _session(settings, role, schema)
        read_only = session | {"default_transaction_read_only": "on"}
        shared: dict[str, Any] = {"wait": settings.database_wait, "traffic": self._traffic, "clock": clock}
        shared["observer"] = observer or Unobserved()
        self._connect = _reading(_connecting(url, settings, read_only))
        self.readers = ReadConnections("readers", self._connect, size=settings.database_readers, **shared)
        self.writers = Connections("writers", _connecting(url, settings, session), size=settings.database_writers, **shared)
        self.personal = Personal(self._read, self._write, wrapping or NoWrapping(), clock, ids)
        self.remembered: dict[object, Any] = {}
        self._ids = ids
        self._tools = Tools(self.readers, self.writers, Cursors(secret), Journal(clock, ids), self.personal)

    def __repr__(self) -> str:
        return "Database()"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def round_trips(self) -> int:
        """Statements sent since the start, BEGIN and COMMIT included."""
        return self._traffic.round_trips

    @property
    def prepares(self) -> int:
        """Statements prepared since the start: the first use of each on each connection."""
        return self._traffic.prepares

    @contextmanager
    def counting(self) -> Iterator[Count]:
        """Count the round trips of a block; of all tasks, so that a test has the database for itself."""
        yield Count(self._traffic)

    def reader(self, principal: Principal) -> Reader:
        """Reads on behalf of this caller."""
        return Reader(principal, self.readers, self._tools.cursors, self.personal, self.remembered)

    def tell(self, tables: Iterable[str], told: Callable[[News], object]) -> None:
        """From now on each unit's commit tells which rows of these tables it changed.

        `told` is called in this process as soon as the commit is known; all others hear it on the bus, under TOPIC.
        """
        self._tools.audience = Audience(tables, told, self._ids)

    def declare(self, facts: Iterable[type[Fact]]) -> None:
        """From now on a unit of work records these facts and no others."""
        self._tools.journal.declared = frozenset(facts)

    def hear(self, names: Iterable[str], heard: Callable[[Collection[str]], object]) -> None:
        """From now on `heard` is called after each commit that recorded facts of these names, with the names.

        In this process only, and lost with it: it wakes those who follow the log, and they look by themselves too.
        """
        self._tools.heard = frozenset(names)
        self._tools.tell_heard = heard

    def unit(self, principal: Principal, *, isolation: Isolation = Isolation.READ_COMMITTED) -> Unit:
        """One transaction on behalf of this caller; `async with` it."""
        claim = claims.get()
        return Unit(principal, self._tools, isolation) if claim is None else claim.unit(principal, self._tools, isolation)

    async def run(self, sql: str, *arguments: Any) -> Rows:
        """One writing statement in a transaction of its own; for the runtime's own tables, never for business code.

        Raises:
            Unavailable: no connection, or no answer in time.
        """
        try:
            return await self.writers.once(sql, list(arguments))
        except Exception as error:
            raise refusal(error) from None

    async def fetchrow(self, sql: str, /, *arguments: Any) -> asyncpg.Record | None:
        """The first row of `run`; None when there is none."""
        rows = await self.run(sql, *arguments)
        return rows[0] if rows else None

    async def start(self) -> None:
        """Connect once, so that a wrong address is said now.

        Raises:
            CannotStart: nobody answers, the role is refused, or the server is older than 15.
        """
        try:
            connection = await self._connect()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
            # The server's words may repeat the address, and with it a password; the kind of error does not.
            said = type(error).__name__
            raise CannotStart(f"the database can't be reached ({said})", hint="is FORTRESS_DATABASE_URL right?") from None
        version = connection.get_server_version().major
        await connection.close(timeout=GRACE)
        if version < OLDEST:
            raise CannotStart(f"PostgreSQL {version} is too old; {OLDEST} or newer is needed")

    async def ping(self) -> None:
        """Ask the server for nothing, to know whether it answers.

        Raises:
            Unavailable: it does not.
        """
        await self.readers.fetch("SELECT 1", [])

    async def _read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        return await self.readers.fetch(sql, arguments)

    async def _write(self, sql: str, arguments: Sequence[Any]) -> Rows:
        return await self.run(sql, *arguments)

    async def close(self) -> None:
        """Close the connections: idle ones now, the others as they come back."""
        await self.readers.close()
        await self.writers.close()


def _session(settings: Settings, role: str | None, schema: str) -> dict[str, str]:
    """What every connection is set to as it opens, at no round trip."""
    session = {
        "application_name": "fortress",
        "timezone": "UTC",
        "datestyle": "ISO",
        # Temporary tables last: they can't stand in for a real one.
        "search_path": f'"{schema}", pg_temp',
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_transaction_timeout),
        "jit": "off",
        # The compiled texts take a backslash for a backslash.
        "standard_conforming_strings": "on",
    }
    return session | ({"role": role} if role else {})


def _connecting(url: str, settings: Settings, session: dict[str, str]) -> Connect:
    async def connect() -> Connection:
        connection: Connection = await asyncpg.connect(
            url,
            timeout=settings.database_wait,
            # The server stops a statement first; this is for a server that does not answer any more.
            command_timeout=settings.statement_timeout + GRACE,
            server_settings=session,
        )
        return connection

    return connect


def _reading(connect: Connect) -> Connect:
    """Connections to which numbers and times come as text: reading it costs half of what the driver's binary form does."""

    async def opened() -> Connection:
        connection = await connect()
        try:
            await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=Decimal, format="text")
            await connection.set_type_codec(
                "timestamptz", schema="pg_catalog", encoder=_moment, decoder=datetime.fromisoformat, format="text"
            )
        except BaseException:
            connection.terminate()
            raise
        return connection

    return opened


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("a time without a zone is not a moment")
    return value.isoformat()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
