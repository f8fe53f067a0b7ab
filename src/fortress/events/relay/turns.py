"""Does something that one process at a time may do, for as long as the process lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fortress.errors import Unavailable
from fortress.events.relay.lease import SECONDS, Held, Lease
from fortress.events.relay.stream import BrokerAway, Overtaken
from fortress.retry import backoff

_RETRY: Final = backoff(times=64, first=0.25, longest=5.0)
_log = structlog.get_logger("fortress.relay")

Work = Callable[[Held], Awaitable[None]]
Failed = Callable[[Exception], Awaitable[None]]


async def in_turn(lease: Lease, work: Work, failed: Failed) -> None:
    """Do `work` whenever the lease is ours, until cancelled. It returns or raises when it can't go on, and is begun again.

    Args:
        lease: what one process has at a time.
        work: what is done by whom has it.
        failed: told of everything that `work` raised, before the next try.
    """
    failures = 0
    while True:
        try:
            held = await lease.claim()
            if held is not None:
                await work(held)
                failures = 0
        except Exception as error:
            _say(lease.name, error)
            await failed(error)
            failures = min(failures + 1, _RETRY.times)
            await asyncio.sleep(_RETRY.pause(failures) or 0)
        else:
            await asyncio.sleep(SECONDS / 4)


def _say(name: str, error: Exception) -> None:
    if isinstance(error, Overtaken):
        _log.warning("relay.overtaken", lease=name)
    elif isinstance(error, (BrokerAway, Unavailable)):
        _log.warning("relay.waiting", lease=name, reason=str(error) or type(error).__name__)
    else:
        _log.error("relay.failed", lease=name, exc_info=error)
