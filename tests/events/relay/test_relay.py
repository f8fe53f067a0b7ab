"""From one service's log to another's: everything, in order, once; whatever is killed, frozen or away in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Database
from fortress.events import Fact
from fortress.events.relay.envelope import Envelope, incoming, outgoing
from fortress.events.relay.lease import Lease
from fortress.events.relay.receiving import Inbox
from fortress.events.relay.sending import Relay
from fortress.events.relay.stream import BrokerAway, Message, Overtaken, Received, Stream
from fortress.security import SYSTEM
from fortress.settings import Settings
from fortress.testing.databases import Databases

# Another test's open transaction on the same server holds back what may be read.
pytestmark = pytest.mark.timeout(240)

CLOCK = SystemClock()
IDS = TimeOrderedIds(CLOCK)
Another = Callable[[], Stream]
Row = asyncpg.Record


class Counted(Fact, frozen=True):
    thing: UUID
    number: int


class Private(Fact, frozen=True):
    thing: UUID


class Service:
    """One service: its database, and what it would run of relays and inboxes."""

    def __init__(self, database: Database, source: str) -> None:
        self.database = database
        self.source = source

    def relay(self, stream: Stream) -> Relay:
        lease = Lease(self.database, "to", uuid4())
        return Relay(self.database, stream, lease, CLOCK, source=self.source, names=["Counted"])

    def inbox(self, stream: Stream) -> Inbox:
        return Inbox(self.database, stream, Lease(self.database, "from", uuid4()), source=self.source, heard=["Counted"], told=lambda: None)

    async def record(self, *facts: Fact) -> None:
        async with self.database.unit(SYSTEM) as unit:
            for fact in facts:
                unit.record(fact)

    async def log(self) -> list[Row]:
        sql = "SELECT id, name, at, aggregate, payload, request_id FROM events ORDER BY tx, seq"
        return await self.database.reader(SYSTEM).rows(sql, [])

    async def lose_lease(self, name: str) -> None:
        """As if the holder had been frozen for longer than its lease lasts."""
        await self.database.run("UPDATE broker_leases SET held_until = clock_timestamp() - interval '1 s' WHERE name = $1", name)


@pytest.fixture
async def services(databases: Databases, app_template: str) -> AsyncIterator[Callable[[str], Awaitable[Service]]]:
    async with AsyncExitStack() as stack:

        async def make(source: str) -> Service:
            url = await stack.enter_async_context(databases.clone(app_template))
            settings = Settings(database_readers=4, database_writers=4)
            database = await stack.enter_async_context(Database(url, settings, secret=bytes(32), clock=CLOCK, ids=IDS))
            # What the demo data has told is none of ours.
            await database.run("DELETE FROM events")
            return Service(database, source)

        yield make


@asynccontextmanager
async def running(*parts: Relay | Inbox) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(100):
        while True:
            answer = true()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


async def numbers(service: Service) -> list[int]:
    return [msgspec.json.decode(row["payload"])["number"] for row in await service.log() if row["name"] == "Counted"]


class Slow:
    """A stream whose `send` waits until it is let go: a process that is frozen with a batch in its hands."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.holding = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send(self, messages: list[Message]) -> None:
        self.holding.set()
        await self.go_on.wait()
        await self._stream.send(messages)


async def test_facts_arrive_in_the_other_services_log(broker: Any, another: Another, services: Any) -> None:
    here, there = await services("here"), await services("there")
    thing = uuid4()
    for number in range(30):
        await here.record(Counted(thing, number), Private(thing))
    async with running(here.relay(another()), there.inbox(another())):
        await until(lambda: _has(there, 30))
        await here.record(Counted(thing, 30))
        await until(lambda: _has(there, 31))
    assert await numbers(there) == list(range(31))
    sent = {row["id"]: row for row in await here.log() if row["name"] == "Counted"}
    for row in await there.log():
        assert (row["at"], row["aggregate"], row["request_id"]) == tuple(sent[row["id"]][key] for key in ("at", "aggregate", "request_id"))
    assert {row["name"] for row in await there.log()} == {"Counted"}


async def test_a_frozen_relay_sends_nothing_a_second_time(another: Another, services: Any) -> None:
    here, there = await services("here"), await services("there")
    thing = uuid4()
    await here.record(*(Counted(thing, number) for number in range(10)))
    slow = Slow(another())
    frozen, second = here.relay(slow), here.relay(another())
    async with running(frozen):
        await slow.holding.wait()
        await here.lose_lease("to")
        async with running(second, there.inbox(another())):
            await until(lambda: second.sent == 10)
            await here.record(*(Counted(thing, number) for number in range(10, 15)))
            slow.go_on.set()
            await until(lambda: frozen.overtaken > 0)
            await until(lambda: _has(there, 15))
    assert await numbers(there) == list(range(15))


async def test_a_relay_that_died_before_it_noted_down_goes_on_where_the_stream_ends(another: Another, services: Any) -> None:
    here, there = await services("here"), await services("there")
    await here.record(*(Counted(uuid4(), number) for number in range(5)))
    async with running(first := here.relay(another())):
        await until(lambda: first.sent == 5)
    # The broker has them, and the database does not know it.
    await here.database.run("UPDATE broker_leases SET tx = NULL, seq = NULL, holder = NULL")
    await here.record(Counted(uuid4(), 5))
    async with running(here.relay(another()), there.inbox(another())):
        await until(lambda: _has(there, 6))
    assert await numbers(there) == list(range(6))


async def test_two_relays_and_two_inboxes_at_once_change_nothing(another: Another, services: Any) -> None:
    here, there = await services("here"), await services("there")
    things = [uuid4() for _ in range(3)]
    parts = [here.relay(another()), here.relay(another()), there.inbox(another()), there.inbox(another())]
    async with running(*parts):
        for number in range(20):
            await here.record(Counted(things[number % 3], number))
            if number == 10:
                await here.lose_lease("to")
                await there.lose_lease("from")
        await until(lambda: _has(there, 20))
    assert await numbers(there) == list(range(20))


async def test_an_inbox_ends_at_whichever_moment_it_is_told_to(another: Another, services: Any) -> None:
    """The clients lose some cancellations on Python 3.11: those that come as a command is sent."""
    there = await services("there")
    inbox = there.inbox(another())
    for number in range(60):
        task = asyncio.create_task(inbox.run())
        await asyncio.sleep(number * 0.0003)
        task.cancel()
        _, late = await asyncio.wait([task], timeout=20)
        assert not late, number
    await inbox.close()


async def test_an_inbox_that_was_overtaken_writes_nothing(another: Another, services: Any) -> None:
    here, there = await services("here"), await services("there")
    await here.record(*(Counted(uuid4(), number) for number in range(5)))
    async with running(relay := here.relay(another())):
        await until(lambda: relay.sent == 5)
    stream = another()
    await stream.open()
    inbox, lease = there.inbox(stream), Lease(there.database, "from", uuid4())
    stale = await lease.claim()
    assert stale is not None
    await there.lose_lease("from")
    assert await Lease(there.database, "from", uuid4()).claim() is not None
    received = await stream.read(None, 5, 1)
    with pytest.raises(Overtaken):
        await inbox._written(stale, [(one, incoming(one.body)) for one in received])
    assert await numbers(there) == []


async def test_what_is_no_fact_is_passed_over_and_counted(services: Any) -> None:
    there = await services("there")
    good = [_envelope(number) for number in range(4)]
    nulled = good[1].replace(b'"number":1', b'"word":"\\u0000"')
    bodies = [good[0], b"nothing", nulled, b'{"specversion":"0.3"}', good[2], b"x" * 70_000, good[3]]
    inbox = there.inbox(Told(bodies))
    async with running(inbox):
        await until(lambda: inbox.taken == 3)
    assert await numbers(there) == [0, 2, 3]
    assert inbox.refused == 4


async def test_while_the_broker_is_away_facts_wait_and_age(another: Another, services: Any) -> None:
    here, there = await services("here"), await services("there")
    await here.record(Counted(uuid4(), 0))
    stream = Away(another())
    relay = here.relay(stream)
    async with running(relay, there.inbox(another())):
        await until(lambda: relay.away and relay.lag() > 0)
        await here.record(Counted(uuid4(), 1))
        stream.is_away = False
        await until(lambda: _has(there, 2))
        await until(lambda: relay.lag() == 0)
    assert not relay.away
    assert await numbers(there) == [0, 1]


async def test_a_stream_of_another_database_is_not_gone_on_with(another: Another, services: Any) -> None:
    here = await services("here")
    await here.record(Counted(uuid4(), 0))
    stream = another()
    await stream.open()
    await stream.last()
    far = outgoing("here", (await here.database.reader(SYSTEM).rows(_ROW, []))[0])
    await stream.send([Message(type(far.position)(2**40, 1), far.id, far.name, far.aggregate, far.body)])
    relay = here.relay(another())
    async with running(relay):
        await until(lambda: relay.away)
    assert relay.sent == 0


class Away:
    """A broker that does not answer."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.is_away = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def open(self) -> None:
        if self.is_away:
            raise BrokerAway("refused")
        await self._stream.open()


class Told:
    """A stream that somebody else wrote, and not well."""

    def __init__(self, bodies: list[bytes]) -> None:
        self._bodies = bodies

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def last(self) -> None: ...
    async def send(self, messages: object) -> None: ...

    async def read(self, after: str | None, most: int, seconds: float) -> list[Received]:
        start = int(after or 0)
        if start >= len(self._bodies):
            await asyncio.sleep(0.01)
        return [Received(str(index + 1), self._bodies[index]) for index in range(start, min(start + most, len(self._bodies)))]


_ROW = "SELECT *, payload::text AS payload, tx::text::bigint AS tx FROM events LIMIT 1"


async def _has(service: Service, count: int) -> bool:
    return len(await numbers(service)) >= count


def _envelope(number: int) -> bytes:
    thing = uuid4()
    row: dict[str, Any] = {
        "id": IDS.new(),
        "at": CLOCK.now(),
        "name": "Counted",
        "version": 1,
        "aggregate": thing,
        "actor_id": thing,
        "request_id": None,
        "payload": f'{{"thing":"{thing}","number":{number}}}',
        "tx": 1,
        "seq": number,
    }
    return outgoing("elsewhere", row).body


def test_the_envelope_is_cloudevents() -> None:
    body = _envelope(1)
    assert body.startswith(b'{"specversion":"1.0","datacontenttype":"application/json","id"')
    read = incoming(body)
    assert isinstance(read, Envelope)
    assert (read.type, read.dataversion, read.source) == ("Counted", 1, "elsewhere")
