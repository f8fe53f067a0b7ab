"""Wakes those who follow the log: here at once, elsewhere by a notice.

The notice is sent after the commit and not with it: PostgreSQL lets transactions that notify commit one after another only, and a
commit that waits for the disk would hold up all others. Many commits share one notice. One that is lost with its process, or
with the connection, is made good by the followers' own look at the log each second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from fortress.data import Database
from fortress.data.bus import CHANNEL, MAX_PAYLOAD, message
from fortress.errors import Unavailable

TOPIC: Final = "facts"
# After a notice, what is committed within this time shares the next one: followers let as much go by between two turns (GAP_SECONDS).
PAUSE_SECONDS: Final = 0.03
EVERYTHING: Final = "*"
_log = structlog.get_logger("fortress.subscribers")


class Herald:
    """Tells of new facts.

    Args:
        wake: those in this process.
    """

    def __init__(self, database: Database, wake: Callable[[Collection[str]], object]) -> None:
        self._database = database
        self._wake = wake
        self._names: set[str] = set()
        self._news = asyncio.Event()

    def recorded(self, names: Collection[str]) -> None:
        """Facts of these names were committed."""
        self._names.update(names)
        self._news.set()
        self._wake(names)

    async def run(self) -> None:
        """Send notices until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            names, self._names = self._names, set()
            try:
                await self._database.run("SELECT pg_notify($1, $2)", CHANNEL, notice(names))
            except Unavailable:
                _log.debug("facts.unheralded", facts=sorted(names))
            await asyncio.sleep(PAUSE_SECONDS)


def notice(names: Collection[str]) -> str:
    """The message that tells of these."""
    told = " ".join(sorted(names))
    return message(TOPIC, told if len(told) < MAX_PAYLOAD - len(TOPIC) - 1 else EVERYTHING)
