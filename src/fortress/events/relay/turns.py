"""What one process at a time does to a stream, for as long as the process lives."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import structlog

from fortress.background import end_if_cancelled
from fortress.errors import Unavailable
from fortress.events.relay.lease import SECONDS, Held, Lease
from fortress.events.relay.stream import BrokerAway, Overtaken, Stream
from fortress.retry import backoff

if TYPE_CHECKING:
    from fortress.data import Database

_RETRY: Final = backoff(times=64, first=0.25, longest=5.0)
_log = structlog.get_logger("fortress.relay")


class OneAtATime(ABC):
    """Work on a stream that one process at a time may do, begun again whenever it can't go on.

    Args:
        lease: who has it does the work.

    Attributes:
        away: whether the broker did not answer when it was last asked.
    """

    def __init__(self, database: Database, stream: Stream, lease: Lease) -> None:
        self._database = database
        self._stream = stream
        self._lease = lease
        self.away = False

    async def run(self) -> None:
        """Work whenever the lease is ours, until cancelled; whatever goes wrong is tried again."""
        failures = 0
        while True:
            end_if_cancelled()
            try:
                held = await self._lease.claim()
                if held is not None:
                    await self._stream.open()
                    await self._work(held)
                    failures = 0
            except Exception as error:
                _say(self._lease.name, error)
                await self._failed(error)
                failures = min(failures + 1, _RETRY.times)
                await asyncio.sleep(_RETRY.pause(failures) or 0)
            else:
                await asyncio.sleep(SECONDS / 4)

    async def close(self) -> None:
        """Let another process go on at once."""
        try:
            await self._lease.release()
        except Unavailable:
            # It ends by itself.
            return
        finally:
            await self._stream.close()

    @abstractmethod
    async def _work(self, held: Held) -> None:
        """Work until the lease is another's. Raises what the stream and the database raise."""

    async def _failed(self, error: Exception) -> None:
        """Take note of what `_work` raised, before the next try."""
        self.away = isinstance(error, BrokerAway)


def _say(name: str, error: Exception) -> None:
    if isinstance(error, Overtaken):
        _log.warning("relay.overtaken", lease=name)
    elif isinstance(error, (BrokerAway, Unavailable)):
        _log.warning("relay.waiting", lease=name, reason=str(error) or type(error).__name__)
    else:
        _log.error("relay.failed", lease=name, exc_info=error)
