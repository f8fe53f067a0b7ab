"""How long jobs are kept that have ended badly; those that ended well are gone at once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from fortress.clock import Clock
from fortress.data import Database

KEEP_SECONDS: Final = 3600.0
BATCH: Final = 1000
MOST_BATCHES: Final = 1000
PAUSE: Final = 0.1

_FORGET: Final = """
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT jobs.id FROM procrastinate_jobs AS jobs
    WHERE jobs.status NOT IN ('todo', 'doing')
      AND NOT EXISTS (SELECT FROM procrastinate_events AS events WHERE events.job_id = jobs.id AND events.at >= $1)
    LIMIT $2
) RETURNING 1"""


class Keeping:
    """Removes jobs that are dead, broken off or cancelled for so many days."""

    def __init__(self, database: Database, clock: Clock, days: int) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    async def run(self) -> None:
        """Remove what is too old, batch by batch, so that nobody waits for it long."""
        before = self._clock.now() - timedelta(days=self._days)
        for _ in range(MOST_BATCHES):
            if await self._forget(before) < BATCH:
                return
            await asyncio.sleep(PAUSE)

    async def _forget(self, before: datetime) -> int:
        return len(await self._database.run(_FORGET, before, BATCH))
