"""A tap in the pipe between a server and what it needs: open, slow, frozen or shut. Runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

_PIECE: Final = 65_536
_PATIENCE: Final = 10.0


class Flow(Enum):
    """PASS: as if it weren't there. SLOW: each piece waits. FROZEN: nothing moves, nothing closes. SHUT: all closed, none accepted."""

    PASS = "pass"
    SLOW = "slow"
    FROZEN = "frozen"
    SHUT = "shut"


class Tap:
    """Listens on a loopback port for as long as the block lasts.

    Args:
        url: a PostgreSQL URL (also one that goes through a Unix socket) or a Redis one: what is behind.

    Attributes:
        url: the same, through the tap.
        pieces: that went through, in either direction.
    """

    def __init__(self, url: str) -> None:
        self._behind = _place(url)
        self._original = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._flow = Flow.PASS
        self._delay = 0.0
        self._moving = asyncio.Event()
        self._moving.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: asyncio.Server | None = None
        self._port = 0
        self.url = ""
        self.pieces = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        self.url = _at(self._original, self._port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    def turn(self, flow: Flow, *, delay: float = 0.0) -> None:
        """Change the flow, for what is connected already too; `delay` in seconds for SLOW."""
        self._do(self._turn(flow, delay))

    async def _turn(self, flow: Flow, delay: float) -> None:
        self._flow, self._delay = flow, delay
        if flow is Flow.FROZEN:
            self._moving.clear()
        else:
            self._moving.set()
        if flow is Flow.SHUT:
            await self._end()
        elif self._serving is None:
            await self._listen()

    async def _listen(self) -> None:
        self._serving = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._serving.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._serving is not None:
            self._serving.close()
            self._serving = None
        self._moving.set()
        # Who was let in at the last moment is there only after a turn of the loop, and is gone only after another.
        for _ in range(3):
            await asyncio.sleep(0)
            for writer in tuple(self._writers):
                writer.transport.abort()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if tasks:
                await asyncio.wait(tasks, timeout=_PATIENCE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._moving.wait()
            behind_reader, behind_writer = await _connect(self._behind)
            self._writers.add(behind_writer)
            await asyncio.gather(self._pump(reader, behind_writer), self._pump(behind_reader, writer))
            self._writers.discard(behind_writer)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(_PIECE):
                if self._flow is Flow.SLOW:
                    await asyncio.sleep(self._delay)
                await self._moving.wait()
                self.pieces += 1
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort() if self._flow is Flow.SHUT else writer.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * _PATIENCE)


async def _connect(behind: tuple[str, int] | Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(behind, Path):
        return await asyncio.open_unix_connection(behind)
    return await asyncio.open_connection(*behind)


def _place(url: str) -> tuple[str, int] | Path:
    parts = urlsplit(url)
    usual = 6379 if parts.scheme.startswith("redis") else 5432
    folder = parse_qs(parts.query).get("host")
    if folder:
        return Path(unquote(folder[0])) / f".s.PGSQL.{usual}"
    return parts.hostname or "127.0.0.1", parts.port or usual


def _at(url: str, port: int) -> str:
    parts = urlsplit(url)
    person = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=f"{person}127.0.0.1:{port}", query=""))
