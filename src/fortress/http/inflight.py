"""How many requests are being answered, and the deadline that none may pass."""

from __future__ import annotations

import asyncio
from typing import Any

from fortress.clock import Clock

SWEEP_SECONDS = 0.5
Ticket = asyncio.Task[Any] | None


class InFlight:
    """The requests under way. One sweep over them twice a second costs less than a timer for each.

    Args:
        deadline: seconds that a request may take; then its task is cancelled and answered 503.
    """

    def __init__(self, clock: Clock, deadline: float) -> None:
        self._clock = clock
        self._deadline = deadline
        self._since: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._since)

    def enter(self) -> Ticket:
        """A request begins in this task; hand the ticket to `leave` when it is answered."""
        task = asyncio.current_task()
        if task is not None:
            self._since[task] = self._clock.monotonic()
        return task

    def renew(self, ticket: Ticket) -> None:
        """The request has come a step further: what remains of it has the whole deadline again."""
        if ticket in self._since:
            self._since[ticket] = self._clock.monotonic()

    def leave(self, ticket: Ticket) -> None:
        """The request is answered."""
        if ticket is not None:
            self._since.pop(ticket, None)
            self._expired.discard(ticket)

    def overdue(self) -> bool:
        """True once for a task that was cancelled because its deadline passed."""
        task = asyncio.current_task()
        if task is None or task not in self._expired:
            return False
        self._expired.discard(task)
        task.uncancel()
        return True

    async def watch(self) -> None:
        """Cancels what is overdue, for as long as the server lives."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Cancel every task whose deadline has passed. O(requests under way)."""
        latest = self._clock.monotonic() - self._deadline
        for task, since in list(self._since.items()):
            if since < latest and task not in self._expired:
                self._expired.add(task)
                task.cancel()
