"""Clients that speak to a server over real sockets: one with manners, and one that sends whatever bytes it is given."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from types import TracebackType
from typing import Final, Self

from fortress.http.request import Scope
from fortress.testing.client import Client, Reply

PATIENCE: Final = 20.0
_HEAD_END: Final = b"\r\n\r\n"
Address = str | Callable[[], str]


def addresses() -> Iterator[str]:
    """Loopback addresses to call from, each once: to a server they are people on different machines."""
    for number in count(1):
        yield f"127.{1 + number // 62_500 % 250}.{number // 250 % 250}.{2 + number % 250}"


class Wire:
    """One connection: raw bytes out, whole answers in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.closing = False

    @classmethod
    async def open(cls, port: int, address: str = "127.0.0.1") -> Self:
        """Connect from `address`."""
        return cls(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)), PATIENCE))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._writer.write_eof()

    async def answer(self, *, to: str = "GET") -> Reply:
        """The next answer. Raises ConnectionError when the server closes instead."""
        try:
            async with asyncio.timeout(PATIENCE):
                began = await self.begun()
                if began.headers.get("content-type", "").startswith("text/event-stream") and to != "HEAD":
                    # It has no end; what has come with its head is all of the answer.
                    self.closing = True
                    return Reply(began.status, began.raw_headers, await anext(self.parts()))
                if (b"transfer-encoding", b"chunked") in began.raw_headers and to != "HEAD":
                    return Reply(began.status, began.raw_headers, b"".join([part async for part in self.parts()]))
                length = 0 if to == "HEAD" or began.status == 204 else int(began.headers.get("content-length", "0"))
                return Reply(began.status, began.raw_headers, await self._reader.readexactly(length))
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"closed after {len(error.partial)} bytes") from None

    async def begun(self) -> Reply:
        """The head of the next answer; its body is still to come."""
        head = await self._reader.readuntil(_HEAD_END)
        pairs = _pairs(head)
        self.closing = (b"connection", b"close") in pairs
        return Reply(int(head.split(b" ", 2)[1]), pairs, b"")

    async def parts(self) -> AsyncIterator[bytes]:
        """The chunks of a streamed body, as they come, to its proper end. Raises IncompleteReadError when it is cut."""
        while length := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(length + 2))[:-2]
        await self._reader.readexactly(2)

    async def first(self, seconds: float = PATIENCE) -> bytes:
        """What comes first: some bytes, or nothing and `closing` is set."""
        try:
            piece = await asyncio.wait_for(self._reader.read(65_536), seconds)
        except TimeoutError:
            return b""
        except ConnectionError:
            piece = b""
        self.closing = not piece
        return piece

    async def rest(self, seconds: float = PATIENCE) -> bytes:
        """All that comes until the server closes, or until nothing has come for `seconds`."""
        parts = bytearray()
        try:
            while piece := await asyncio.wait_for(self._reader.read(65_536), seconds):
                parts += piece
            self.closing = True
        except TimeoutError:
            pass
        except ConnectionError:
            self.closing = True
        return bytes(parts)

    async def closed(self, seconds: float) -> bool:
        """Whether the server closes within `seconds` without another byte."""
        try:
            return await asyncio.wait_for(self._reader.read(1), seconds) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


class LiveClient(Client):
    """`fortress.testing`'s client over sockets, with connections kept as a browser keeps them; `async with` it.

    Args:
        port: of the server.
        address: where the calls come from; called for each new connection when it is a function.
        kept: False opens a connection for each request, so that every worker is met.
    """

    def __init__(self, port: int, *, address: Address = "127.0.0.1", kept: bool = True, base: str = "/api/v1") -> None:
        super().__init__(None, base=base)
        self._port = port
        self._from = address
        self._kept = kept
        self._free: list[Wire] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._free:
            await self._free.pop().close()

    async def _exchange(self, scope: Scope, content: bytes) -> Reply:
        method: str = scope["method"]
        wire = self._free.pop() if self._free else await self._open()
        try:
            await wire.send(_head(scope, content) + content)
            reply = await wire.answer(to=method)
        except BaseException:
            await wire.close()
            raise
        if wire.closing or not self._kept:
            await wire.close()
        else:
            self._free.append(wire)
        return reply

    async def _open(self) -> Wire:
        return await Wire.open(self._port, self._from if isinstance(self._from, str) else self._from())


def _head(scope: Scope, content: bytes) -> bytes:
    target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    lines = [scope["method"].encode() + b" " + target + b" HTTP/1.1", *(name + b": " + value for name, value in scope["headers"])]
    if not content and scope["method"] in ("POST", "PUT", "PATCH"):
        lines.append(b"content-length: 0")
    return b"\r\n".join(lines) + _HEAD_END


def _pairs(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:-2]
    split = (line.partition(b":") for line in lines)
    return [(name.strip().lower(), value.strip()) for name, _, value in split]
