"""Counts round trips where they happen: a proxy before PostgreSQL that counts its ReadyForQuery messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

_READY: Final = ord("Z")
_HEAD: Final = 5
_NO_TLS: Final = {80_877_103, 80_877_104}
_CHUNK: Final = 65_536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ReadyCounter:
    """Counts the ReadyForQuery messages in one connection's answers (PostgreSQL protocol 3: a byte, a length, a body).

    The server sends one when it has answered everything up to a Sync or a simple query: a round trip.
    """

    def __init__(self) -> None:
        self.count = 0
        self._held = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        self._held += data
        while True:
            taken = min(self._skip, len(self._held))
            del self._held[:taken]
            self._skip -= taken
            if self._skip or len(self._held) < _HEAD:
                return
            self.count += self._held[0] == _READY
            self._skip = 1 + int.from_bytes(self._held[1:_HEAD], "big")


class Wire:
    """The proxy.

    Args:
        url: of the database behind it, over TCP or a Unix socket.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._counters: list[ReadyCounter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def round_trips(self) -> int:
        """So far, on all connections."""
        return sum(counter.count for counter in self._counters)

    @property
    def url(self) -> str:
        """The database through the proxy."""
        user = f"{self._target.username or 'postgres'}{':' + self._target.password if self._target.password else ''}"
        return f"postgresql://{user}@127.0.0.1:{self._port}{self._target.path}"

    async def serve(self) -> asyncio.Server:
        """Listen on a free port of the loopback."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counter = ReadyCounter()
        self._counters.append(counter)
        first = await _start_message(reader, writer)
        back_reader, back_writer = await self._open()
        back_writer.write(first)
        try:
            await asyncio.gather(_pump(reader, back_writer), _pump(back_reader, writer, counter))
        finally:
            back_writer.close()
            writer.close()

    async def _open(self) -> Streams:
        socket = parse_qs(self._target.query).get("host")
        if socket and socket[0].startswith("/"):
            return await asyncio.open_unix_connection(f"{socket[0]}/.s.PGSQL.{self._target.port or 5432}")
        return await asyncio.open_connection(self._target.hostname or "127.0.0.1", self._target.port or 5432)


async def _start_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The client's startup message; offers of encryption are declined before it."""
    while True:
        head = await reader.readexactly(8)
        if int.from_bytes(head[4:], "big") not in _NO_TLS:
            return head
        writer.write(b"N")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: ReadyCounter | None = None) -> None:
    try:
        while data := await reader.read(_CHUNK):
            if counter is not None:
                counter.feed(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A proxy before this database, for as long as it is needed."""
    proxy = Wire(url)
    async with await proxy.serve() as server:
        yield proxy
        server.close()
