"""The deadline that no request may pass."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fortress.clock import FixedClock
from fortress.http.inflight import InFlight


async def test_what_is_overdue_is_cancelled_and_knows_why() -> None:
    clock = FixedClock(datetime(2026, 11, 22, tzinfo=UTC))
    inflight = InFlight(clock, deadline=30)
    entered = asyncio.Event()

    async def request() -> str:
        ticket = inflight.enter()
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "overdue" if inflight.overdue() else "cancelled"
        finally:
            inflight.leave(ticket)
        return "never"

    late, gone = asyncio.create_task(request()), asyncio.create_task(request())
    await entered.wait()
    await asyncio.sleep(0)
    clock.advance(timedelta(seconds=30))
    inflight.sweep()
    assert len(inflight) == 2
    gone.cancel()
    assert await gone == "cancelled"
    clock.advance(timedelta(seconds=1))
    inflight.sweep()
    assert await late == "overdue"
    assert len(inflight) == 0


async def test_the_watch_ends_when_it_is_told_to() -> None:
    watching = asyncio.create_task(InFlight(FixedClock(datetime(2026, 11, 22, tzinfo=UTC)), 1).watch())
    await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
