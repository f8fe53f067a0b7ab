"""Doing it again after another transaction was in the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fortress.context import RequestContext
from fortress.data.refusals import Contended

T = TypeVar("T")

ATTEMPTS: Final = 3
PAUSE: Final = 0.01


async def retrying(
    call: Callable[[], Awaitable[T]],
    context: RequestContext | None,
    *,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """The call's result; after a serialization failure or deadlock it runs again, 3 times in all, with jittered pauses.

    A request that has committed anything is never repeated: its first half would happen twice.

    Raises:
        Contended: another transaction was in the way each time; 503 with Retry-After.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return await call()
        except Contended:
            if context is not None and context.committed:
                raise
            # Jitter keeps two that met once from meeting again; it is no secret.
            await pause(PAUSE * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
    return await call()
