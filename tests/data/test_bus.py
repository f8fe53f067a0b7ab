"""The bus against a real server: news arrive, and a silence is noticed before it can do harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from tests.proxy import Proxy

from fortress.clock import SystemClock
from fortress.data.bus import CERTAIN_SECONDS, MAX_PAYLOAD, Bus, message, publish
from fortress.testing.servers import through

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

Connect = Callable[[], Awaitable[Connection]]
OpenBus = Callable[..., Awaitable[Bus]]
SOON = 5.0


class Events:
    """What a bus told its subscribers, and when something new was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._new = asyncio.Event()

    def tell(self, what: str) -> None:
        self.told.append(what)
        self._new.set()

    async def count(self, what: str, times: int = 1) -> None:
        async with asyncio.timeout(SOON):
            while self.told.count(what) < times:
                self._new.clear()
                await self._new.wait()


@pytest.fixture
def connect(data_url: str) -> Connect:
    async def open_one() -> Connection:
        return await asyncpg.connect(data_url, timeout=SOON)

    return open_one


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def connection(connect: Connect) -> AsyncIterator[Connection]:
    opened = await connect()
    yield opened
    await opened.close(timeout=SOON)


@pytest.fixture
async def open_bus(events: Events, connect: Connect) -> AsyncIterator[OpenBus]:
    opened: list[Bus] = []

    async def open_one(by: Connect | None = None) -> Bus:
        bus = Bus(by or connect, SystemClock())
        bus.on("revoked", events.tell)
        bus.on_lost(lambda: events.tell("lost"))
        bus.on_restored(lambda: events.tell("restored"))
        opened.append(bus)
        await bus.start()
        events.told.clear()
        return bus

    yield open_one
    for bus in opened:
        await bus.stop()


@pytest.fixture
async def proxy(data_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(data_url)
    await proxy.open()
    yield proxy
    await proxy.close()


async def becomes(bus: Bus, *, certain: bool) -> None:
    async with asyncio.timeout(SOON):
        while bus.certain() is not certain:  # noqa: ASYNC110 - a bus has no event for it, on purpose
            await asyncio.sleep(0.005)


async def test_news_reach_the_subscriber_of_their_topic_and_no_other(open_bus: OpenBus, connection: Connection, events: Events) -> None:
    bus = await open_bus()
    assert bus.certain()
    await publish(connection, "other", "nobody listens")
    await publish(connection, "revoked", "session:1:2")
    await events.count("session:1:2")
    assert events.told == ["session:1:2"]


async def test_news_of_a_rolled_back_transaction_are_never_heard(open_bus: OpenBus, connection: Connection, events: Events) -> None:
    await open_bus()
    transaction = connection.transaction()
    await transaction.start()
    await publish(connection, "revoked", "never")
    await transaction.rollback()
    await publish(connection, "revoked", "real")
    await events.count("real")
    assert events.told == ["real"]


async def test_a_bus_that_is_not_started_or_stopped_is_never_certain(open_bus: OpenBus, connect: Connect) -> None:
    assert not Bus(connect, SystemClock()).certain()
    bus = await open_bus()
    await bus.stop()
    assert not bus.certain()


async def test_it_stays_certain_while_the_heart_beats(open_bus: OpenBus) -> None:
    bus = await open_bus()
    end = asyncio.get_running_loop().time() + 3 * CERTAIN_SECONDS
    while asyncio.get_running_loop().time() < end:
        assert bus.certain()
        await asyncio.sleep(0.01)


async def test_a_killed_connection_is_noticed_at_once_and_replaced(
    open_bus: OpenBus, connect: Connect, connection: Connection, events: Events
) -> None:
    listening: list[Connection] = []

    async def remembered() -> Connection:
        listening.append(await connect())
        return listening[-1]

    bus = await open_bus(remembered)
    believed: list[bool] = []
    bus.on_lost(lambda: believed.append(bus.certain()))
    await connection.execute("SELECT pg_terminate_backend($1)", listening[0].get_server_pid())
    await events.count("restored")
    assert believed == [False, False]
    assert bus.certain()
    # Once for the loss and once before it is believed again: what was cached in between is in doubt as well.
    assert events.told == ["lost", "lost", "restored"]
    await publish(connection, "revoked", "after")
    await events.count("after")


async def test_a_frozen_network_ends_the_certainty_in_time(
    open_bus: OpenBus, proxy: Proxy, data_url: str, connection: Connection, events: Events
) -> None:
    async def through_proxy() -> Connection:
        return await asyncpg.connect(through(data_url, proxy.port), timeout=SOON, ssl=False)

    bus = await open_bus(through_proxy)
    loop = asyncio.get_running_loop()
    proxy.freeze()
    frozen = loop.time()
    await publish(connection, "revoked", "missed")
    await becomes(bus, certain=False)
    assert loop.time() - frozen <= CERTAIN_SECONDS + 0.1
    await events.count("lost")
    assert "missed" not in events.told
    proxy.thaw()
    await events.count("restored")
    assert bus.certain()


async def test_it_tries_again_until_the_database_is_back(
    open_bus: OpenBus, connect: Connect, connection: Connection, events: Events
) -> None:
    listening: list[Connection] = []
    away = False

    async def sometimes() -> Connection:
        if away:
            events.tell("refused")
            raise ConnectionRefusedError
        listening.append(await connect())
        return listening[-1]

    bus = await open_bus(sometimes)
    away = True
    await connection.execute("SELECT pg_terminate_backend($1)", listening[0].get_server_pid())
    await events.count("refused", 3)
    assert not bus.certain()
    away = False
    await events.count("restored")
    assert bus.certain()


class Stricken:
    """A connection on which the driver stumbles when it is asked, once told to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.now = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, sql: str) -> str:
        if self.now:
            raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
        return await self._connection.execute(sql)


async def test_a_driver_that_stumbles_over_a_dying_connection_does_not_end_the_listening(
    open_bus: OpenBus, connect: Connect, connection: Connection, events: Events
) -> None:
    opened: list[Stricken] = []

    async def connect_stricken() -> Any:
        opened.append(Stricken(await connect()))
        return opened[-1]

    bus = await open_bus(connect_stricken)
    opened[0].now = True
    await events.count("restored")
    await publish(connection, "revoked", "after")
    await events.count("after")
    assert bus.certain()


async def test_a_subscriber_that_fails_counts_as_news_missed(open_bus: OpenBus, connection: Connection, events: Events) -> None:
    bus = await open_bus()
    bus.on("broken", int)
    await publish(connection, "broken", "no number")
    await events.count("lost")
    await publish(connection, "revoked", "goes on")
    await events.count("goes on")


async def test_start_fails_when_the_database_is_away() -> None:
    async def refuse() -> Connection:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await Bus(refuse, SystemClock()).start()


@pytest.mark.parametrize(("topic", "rest"), [("", "x"), ("a:b", "x"), ("a", "x" * MAX_PAYLOAD), ("a", "é" * (MAX_PAYLOAD // 2))])
def test_a_message_that_can_not_be_sent_is_refused(topic: str, rest: str) -> None:
    with pytest.raises(ValueError, match=r"topic|longer"):
        message(topic, rest)
