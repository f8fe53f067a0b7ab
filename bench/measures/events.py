"""Facts through subscribers: fact-p50, fact-p99, fact-rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from bench.fortress_server import new_database
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.statistics import summarize
from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Database, Entity, Key, Unit
from fortress.data.bus import Bus
from fortress.data.catalogue import OWN
from fortress.data.migration import Migrations, runtime_branch
from fortress.events import Event, Fact, Subscriber, on
from fortress.events.following import TOPIC, FactKinds, Followers, Herald, followers_of, logs_of, register
from fortress.security import SYSTEM
from fortress.settings import Settings

_KEYS: Final = ("fact-p50", "fact-p99", "fact-rate")
_LATENCIES: Final = 300
_PAUSE: Final = 0.02
_FACTS: Final = 20_000
_SECONDS: Final = 60.0
_TABLES: Final = """
CREATE TABLE bench_effects (id uuid PRIMARY KEY, thing uuid NOT NULL)"""
_BACKLOG: Final = """
INSERT INTO events (id, at, name, version, aggregate, actor_id, request_id, payload)
SELECT gen_random_uuid(), now(), 'Placed', 1, id, id, 'bench', jsonb_build_object('thing', id, 'buyer', id, 'total', '12.50')
FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) AS one"""


class Placed(Fact, frozen=True):
    """What happens in the measure."""

    thing: UUID
    buyer: UUID
    total: str


class BenchEffect(Entity, frozen=True):
    """One row for each fact."""

    __tablename__ = "bench_effects"
    id: Key
    thing: UUID


def take(run: Run) -> Sequence[Outcome]:
    run.say("facts through subscribers")
    return asyncio.run(_take(run, new_database(run, "bench_events")))


async def _take(run: Run, url: str) -> Sequence[Outcome]:
    await Migrations(url, [runtime_branch([entity.table for entity in OWN])]).up()
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(_TABLES)
        slow = sorted(await _latencies(url))
        rates = [await _rate(url, connection) for _ in range(run.http_rounds)]
    finally:
        await connection.close()
    return [
        figure("fact-p50", summarize([slow[len(slow) // 2]]), samples=len(slow)),
        figure("fact-p99", summarize([slow[int(len(slow) * 0.99)]]), samples=len(slow)),
        figure("fact-rate", summarize(rates), facts=_FACTS),
    ]


async def _latencies(url: str) -> list[float]:
    """Milliseconds from before the unit that records a fact to the start of its handler, woken by a notice as another process is."""
    heard: asyncio.Queue[float] = asyncio.Queue()

    async def hear(_fact: Placed) -> None:
        heard.put_nowait(time.perf_counter())

    taken = []
    async with _database(url) as writing, _database(url) as reading, _following(url, writing, reading, on(Placed, name="bench.hear")(hear)):
        for _ in range(_LATENCIES):
            began = time.perf_counter()
            async with writing.unit(SYSTEM) as unit:
                unit.record(Placed(uuid4(), uuid4(), "12.50"))
            async with asyncio.timeout(_SECONDS):
                taken.append((await heard.get() - began) * 1000)
            await asyncio.sleep(_PAUSE)
    return taken


async def _rate(url: str, connection: Any) -> float:
    """Facts per second from the commit of a backlog to the last effect."""
    await connection.execute("TRUNCATE bench_effects, events, subscriber_lanes")
    async with _database(url) as database, _following(url, database, database, on(Placed, name="bench.write")(_write)) as followers:
        await connection.execute(_BACKLOG, _FACTS)
        began = time.perf_counter()
        followers.wake()
        async with asyncio.timeout(_SECONDS):
            while sum(one.follower.handled for one in followers.all) < _FACTS:  # noqa: ASYNC110 - it is a count
                await asyncio.sleep(0.005)
        return _FACTS / (time.perf_counter() - began)


async def _write(fact: Placed, unit: Unit, event: Event) -> None:
    unit.add([BenchEffect(event.id, fact.thing)])


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    clock = SystemClock()
    async with Database(url, Settings.model_validate({}), secret=bytes(32), clock=clock, ids=TimeOrderedIds(clock)) as database:
        yield database


@asynccontextmanager
async def _following(url: str, writing: Database, reading: Database, *subscribers: Subscriber) -> AsyncIterator[Followers]:
    clock, kinds = SystemClock(), FactKinds([Placed])
    logs = logs_of(subscribers, kinds)
    await register(reading, logs)
    followers = Followers(followers_of(logs, kinds, _nothing, reading, clock), reading, clock, at_once=4, grace=5.0)
    bus = Bus(lambda: asyncpg.connect(url, timeout=10), clock)
    bus.on(TOPIC, lambda names: followers.wake(names.split()))
    herald = Herald(writing, lambda _names: None)
    writing.hear(kinds.by_name, herald.recorded)
    async with AsyncExitStack() as stack:
        task = asyncio.create_task(herald.run())
        stack.callback(task.cancel)
        followers.start()
        stack.push_async_callback(followers.stop)
        await bus.start()
        stack.push_async_callback(bus.stop)
        yield followers


def _nothing(kind: type[Any]) -> Any:
    raise LookupError(kind)


MEASURE: Final = Measure(_KEYS, take)
