"""Repeats the domains' own upkeep, on one server at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from zlib import crc32

import asyncpg
import msgspec
import structlog

_log = structlog.get_logger("fortress.upkeep")
_LOCK_SPACE = 0x466F7274
_TIMEOUT = 5.0

Run = Callable[[], Awaitable[object]]
Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Task(msgspec.Struct, frozen=True):
    """Work to repeat: its name, the seconds between two runs, and the coroutine function."""

    name: str
    seconds: float
    run: Run


class Upkeeper:
    """Runs each task again and again; an advisory lock keeps two servers from doing the same at once.

    Args:
        connect: opens the connection that holds the locks; PostgreSQL frees them if this process dies.
    """

    def __init__(self, connect: Connect, tasks: Sequence[Task]) -> None:
        self._connect = connect
        self._tasks = tuple(tasks)
        self._running: list[asyncio.Task[None]] = []
        self._connection: asyncpg.Connection | None = None
        self._one = asyncio.Lock()

    def start(self) -> None:
        self._running = [asyncio.create_task(self._repeat(task), name=f"upkeep {task.name}") for task in self._tasks]

    async def stop(self) -> None:
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    async def _repeat(self, task: Task) -> None:
        while True:
            await asyncio.sleep(task.seconds)
            try:
                await self._once(task)
            except Exception as error:
                _log.error("upkeep.failed", task=task.name, error=type(error).__name__, exc_info=error)

    async def _once(self, task: Task) -> None:
        key = crc32(task.name.encode()) - 2**31
        if not await self._ask("SELECT pg_try_advisory_lock($1, $2)", key):
            return
        try:
            await task.run()
        finally:
            await self._ask("SELECT pg_advisory_unlock($1, $2)", key)

    async def _ask(self, sql: str, key: int) -> bool:
        async with self._one:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            return bool(await self._connection.fetchval(sql, _LOCK_SPACE, key, timeout=_TIMEOUT))
