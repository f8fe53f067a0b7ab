"""Subscribers beside the requests: every process tells of new facts, and those that work follow the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from fortress.bootstrap.container import Container
from fortress.clock import Clock
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.events.following import TOPIC, FactKinds, FactLog, FactTail, Followers, Herald, followers_of, register
from fortress.events.following.watch import watch_followers
from fortress.settings import Settings
from fortress.telemetry.metrics import Metrics

REGISTER_SECONDS: Final = 5.0
_log = structlog.get_logger("fortress.subscribers")


@asynccontextmanager
async def facts_heralded(database: Database, logs: Sequence[FactLog], bus: Bus, relayed: Collection[str]) -> AsyncIterator[Herald]:
    """Every subscriber has its place in the log, and each commit of a fact that one hears or that is relayed is told.

    Before the bus starts.
    """
    herald = Herald(database, lambda names: bus.deliver(TOPIC, " ".join(names)))
    tasks = [asyncio.create_task(herald.run(), name="facts herald")]
    if not await _registered(database, logs):
        tasks.append(asyncio.create_task(_keep_registering(database, logs), name="subscribers register"))
    database.hear({*relayed, *(name for log in logs for name in log.names)}, herald.recorded)
    try:
        yield herald
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


@asynccontextmanager
async def subscribers_at_work(
    logs: Sequence[FactLog], kinds: FactKinds, container: Container, bus: Bus, draining: Callable[[], bool]
) -> AsyncIterator[Followers]:
    """Subscribers follow the log in this process for as long as the block lasts. Before the bus starts.

    Raises:
        CannotStart: a handler can't be called, or nobody provides what it needs.
    """
    database, clock, settings = container.get(Database), container.get(Clock), container.get(Settings)
    made = followers_of(logs, kinds, container.get, database, clock)
    followers = Followers(
        made, database, clock, at_once=settings.subscribers_at_once, grace=settings.subscribers_grace, draining=draining
    )  # fmt: skip
    watch_followers(followers.all, container.get(Metrics), clock)
    bus.on(TOPIC, lambda names: followers.wake(names.split()))
    bus.on_restored(followers.wake)
    followers.start()
    try:
        yield followers
    finally:
        await followers.stop()


@asynccontextmanager
async def facts_tailed(tail: FactTail, bus: Bus, metrics: Metrics) -> AsyncIterator[None]:
    """Those who look on at the end of the log are told what happens, for as long as the block lasts. Before the bus starts."""
    bus.on(TOPIC, lambda _names: tail.wake())
    metrics.watch("event_streams", "Streams of facts that are open.", lambda: float(len(tail)))
    task = asyncio.create_task(tail.run(), name="facts tail")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _registered(database: Database, logs: Sequence[FactLog]) -> bool:
    """False while the schema is behind or the database is away; a server starts all the same, and is not ready."""
    try:
        await register(database, logs)
    except Exception as error:
        _log.warning("subscribers.unregistered", error=type(error).__name__)
        return False
    return True


async def _keep_registering(database: Database, logs: Sequence[FactLog]) -> None:
    await asyncio.sleep(REGISTER_SECONDS)
    while not await _registered(database, logs):  # noqa: ASYNC110 - the database can only be asked
        await asyncio.sleep(REGISTER_SECONDS)
