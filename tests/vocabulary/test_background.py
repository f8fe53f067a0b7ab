"""Work that outlives its request."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from fortress.background import Background, end_if_cancelled


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


async def test_a_task_whose_cancellation_was_lost_ends_at_its_next_step() -> None:
    begun, steps = asyncio.Event(), 0

    async def deaf() -> None:
        """As a client that sends by `asyncio.wait_for` on Python 3.11."""
        with suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.sleep(60)

    async def work() -> None:
        nonlocal steps
        while True:
            end_if_cancelled()
            await deaf()
            steps += 1

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == 1


async def test_a_task_that_nobody_cancelled_goes_on() -> None:
    end_if_cancelled()
