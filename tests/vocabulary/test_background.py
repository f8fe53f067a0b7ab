"""Work that outlives its request."""

from __future__ import annotations

import asyncio

from fortress.background import Background


async def test_what_is_under_way_is_waited_for() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    background = Background()
    background.start(work())
    await background.finish(5)
    assert done == [1]
    assert len(background) == 0


async def test_what_takes_too_long_is_cancelled_in_the_end() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    background = Background()
    background.start(work())
    await background.finish(0.01)
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_failure_is_told_and_hurts_nobody() -> None:
    async def work() -> None:
        raise RuntimeError("told in the log")

    background = Background()
    background.start(work())
    await background.finish(5)
    assert len(background) == 0
