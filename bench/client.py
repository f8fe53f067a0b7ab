"""A small HTTP/1.1 client over kept connections: for work that depends on the answer before, and where wrk is missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

_TIMEOUT: Final = 30.0
Step = Callable[[], Awaitable[object]]


class Refused(RuntimeError):
    """A request was not answered with success."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """A status and a body."""

    status: int
    body: bytes

    def value(self) -> Any:
        """The JSON in it.

        Raises:
            Refused: the answer is no success.
        """
        if self.status >= 300:
            raise Refused(f"{self.status}: {self.body[:300].decode(errors='replace')}")
        return msgspec.json.decode(self.body) if self.body else None


class Connection:
    """One kept connection; requests follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: object = None) -> HttpAnswer:
        """Send a request and read its answer."""
        self._writer.write(encode(method, path, headers or {}, b"" if body is None else msgspec.json.encode(body)))
        return await self.read()

    async def read(self) -> HttpAnswer:
        """The next answer; its length must be said by Content-Length."""
        async with asyncio.timeout(_TIMEOUT):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            body = await self._reader.readexactly(int(length)) if length else b""
        return HttpAnswer(int(head[9:12]), body)

    def send(self, request: bytes) -> None:
        """Send a request that `encode` made."""
        self._writer.write(request)


def encode(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Connection]:
    """A connection to a server on the loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def repeat(steps: list[Step], seconds: float) -> int:
    """Run each step over and over, all beside each other, for so many seconds; how often in all."""
    until = time.monotonic() + seconds

    async def one(step: Step) -> int:
        done = 0
        while time.monotonic() < until:
            await step()
            done += 1
        return done

    return sum(await asyncio.gather(*(one(step) for step in steps)))
