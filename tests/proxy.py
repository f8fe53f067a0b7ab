"""Stands between us and a real server, on the loop of the test: passes bytes on, holds them back, delays them, or hangs up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from fortress.testing.servers import wire_to

_CHUNK: Final = 65_536


class Proxy:
    """Passes TCP on to the server of `url`; every pause and hang-up is for all connections.

    Attributes:
        port: on the loopback; the same whenever it opens again.
        delay: seconds by which each piece comes late.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay = 0.0
        self.port = 0

    async def open(self) -> None:
        """Let clients in."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hang up, and refuse whoever comes."""
        if self._server is not None:
            self._server.close()
            self._server = None
        # Who was let in at the last moment is there only after a turn of the loop, and is gone only after another.
        for _ in range(3):
            await asyncio.sleep(0)
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in tuple(self._writers):
                writer.transport.abort()

    def freeze(self) -> None:
        """Keep connections, take new ones, pass nothing on."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on what was held back, and what comes."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._flowing.wait()
                far_reader, far_writer = await wire_to(self._url)
                self._writers.add(far_writer)
                await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()
