"""Stand-ins that do the real thing's work, in memory: mail, ids. Time is `fortress.clock.FixedClock`, limits MemoryStore."""

from __future__ import annotations

import asyncio
from uuid import UUID

from fortress.mail import Mail


class RecordingMailer:
    """Keeps every mail; waits for one when asked."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self._arrived: asyncio.Queue[Mail] = asyncio.Queue()

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail)
        self._arrived.put_nowait(mail)

    async def next(self, seconds: float = 5.0) -> Mail:
        """The first mail that has not been asked for yet; waited for when none is there. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            return await self._arrived.get()


class CountingIds:
    """UUIDv7-shaped ids that count up from 1, the same in every run."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> UUID:
        self._last += 1
        return UUID(int=0x7 << 76 | 0b10 << 62 | self._last)
