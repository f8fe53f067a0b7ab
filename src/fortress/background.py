"""Small work that outlives its request but not the server: bounded, and waited for at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

MAX_TASKS = 1000
_log = structlog.get_logger("fortress.background")


def end_if_cancelled() -> None:
    """End this task here, when that was asked for and the asking was lost on the way.

    For loops over clients of others: on Python 3.11 `asyncio.wait_for`, which redis-py and nats-py send by, loses a cancellation
    that comes at the moment in which it ends, and a loop that is cancelled once would go on for ever.

    Raises:
        CancelledError: the task was told to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Background:
    """Runs coroutines beside the requests. What must not be lost is a job, not this."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin the work now; dropped, with a log line, when too much is under way."""
        if len(self._tasks) >= MAX_TASKS:
            work.close()
            _log.error("background.full", bound=MAX_TASKS)
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def finish(self, seconds: float) -> None:
        """Wait for what is under way, then cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background.failed", exc_info=error)
