"""A receiver of webhooks on a real socket, as well or as badly behaved as a test wants it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def saying(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """A plain answer."""

    async def say(writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers])
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return say


async def silence(writer: asyncio.StreamWriter) -> None:
    """Nothing, for as long as the other side waits."""
    await asyncio.Event().wait()


async def hanging_up(writer: asyncio.StreamWriter) -> None:
    """The end, in the place of an answer."""


async def babble(writer: asyncio.StreamWriter) -> None:
    """What is no HTTP."""
    writer.write(b"220 mail.example.com ESMTP\r\n" * 10)
    await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    """A head that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await _forever(writer, b"x-more: " + b"a" * 1000 + b"\r\n")


async def endless_body(writer: asyncio.StreamWriter) -> None:
    """A body that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await _forever(writer, b"a" * 65_536)


async def stalling_body(writer: asyncio.StreamWriter) -> None:
    """A head that promises a body, and a few bytes of it."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfew")
    await silence(writer)


async def _forever(writer: asyncio.StreamWriter, part: bytes) -> None:
    while True:
        writer.write(part)
        await writer.drain()


class Receiver:
    """Keeps what it was sent, as head and body; answers as `behaviour` says at that moment.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.connections = 0
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.port = 0
        self.written = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?token=MARKER"

    def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(({"request": head[0], **headers}, body))
            await self.behaviour(writer)
        except (OSError, asyncio.IncompleteReadError):
            # The other side had enough.
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def receiving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver for as long as the block lasts."""
    receiver = Receiver(behaviour)
    server = await asyncio.start_server(receiver.receive, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.stop()
