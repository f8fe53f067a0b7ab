"""Those who look on at what happens: nothing twice, nothing missed, over restarts and workers, and only for who may."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.faults.conftest import Connection, Serve
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Reply
from fortress.testing.live import LiveClient, Wire
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

TIMEOUT = 4.0
PATH = "/api/v1/events/stream"
RECORD = """
INSERT INTO events (id, at, name, version, aggregate, actor_id, request_id, payload)
SELECT gen_random_uuid(), now(), $1, 1, $2, $2, NULL, jsonb_build_object('number', n) FROM generate_series($3::int, $4::int) AS n"""
Event = tuple[str, str, Any]


class Feed:
    """A stream as its client reads it.

    Attributes:
        head: of the answer.
        beats: how many signs of life have come.
    """

    def __init__(self, wire: Wire, head: Reply) -> None:
        self.head = head
        self.beats = 0
        self._parts = wire.parts()
        self._rest = b""
        self._last = ""

    async def next(self, seconds: float = 10.0) -> Event:
        """Id, name and data of the next event."""
        async with asyncio.timeout(seconds):
            while True:
                text, found, rest = self._rest.partition(b"\n\n")
                if not found:
                    self._rest += await anext(self._parts)
                    continue
                self._rest = rest
                if text == b":":
                    self.beats += 1
                    continue
                fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
                return fields.get("id", ""), fields["event"], json.loads(fields["data"])

    async def numbers(self, count: int) -> tuple[list[int], str]:
        """The numbers of the next facts of this test, and the id of the last."""
        found, last = [], ""
        for _ in range(count):
            last, _, view = await self.next()
            found.append(view["fact"]["number"])
        return found, last


@asynccontextmanager
async def looking_on(port: int, caller: Caller, query: str = "", *, after: str = "", address: str = "127.0.0.1") -> AsyncIterator[Feed]:
    async with await Wire.open(port, address) as wire:
        sent = {**caller.headers, **({"last-event-id": after} if after else {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        await wire.send(f"GET {PATH}{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}\r\n".encode())
        yield Feed(wire, await wire.begun())


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(workers=2, request_timeout=TIMEOUT)


@pytest.fixture
async def reader(callers: Callers) -> Caller:
    return await callers.sign_in("reader", ADMIN, ADMIN_PASSWORD)


async def record(owner: Connection, about: UUID, first: int, last: int, name: str = "Rung") -> None:
    await owner.execute(RECORD, name, about, first, last)


async def test_what_is_committed_comes_at_once_in_order_and_once(server: Server, reader: Caller, owner: Connection) -> None:
    about = uuid4()
    async with looking_on(server.port, reader, f"?aggregate={about}") as feed:
        assert (feed.head.status, feed.head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        for first in range(1, 100, 10):
            await record(owner, about, first, first + 9)
        began = time.monotonic()
        assert (await feed.numbers(100))[0] == list(range(1, 101))
        assert time.monotonic() - began < 3


async def test_it_is_what_the_list_shows(server: Server, client: LiveClient, callers: Callers, reader: Caller) -> None:
    async with looking_on(server.port, reader, "?name=OrderPlaced") as feed:
        buyer = await callers.person(uuid4().hex)
        order = await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}, as_=buyer)
        _, name, view = await feed.next()
    listed = (await client.get(f"/events?aggregate={order.json()['id']}", as_=reader)).json()["items"]
    assert (name, [view]) == ("OrderPlaced", listed)


async def test_who_comes_back_misses_nothing_at_any_worker(server: Server, reader: Caller, owner: Connection) -> None:
    about, seen, after = uuid4(), [], ""
    await record(owner, about, 0, 0)
    async with looking_on(server.port, reader, f"?aggregate={about}") as feed:
        await record(owner, about, 1, 3)
        found, after = await feed.numbers(3)
        seen += found
    for turn in range(4):
        first = 4 + turn * 700
        await record(owner, about, first, first + 699)
        async with looking_on(server.port, reader, f"?aggregate={about}", after=after) as feed:
            found, after = await feed.numbers(700)
            seen += found
    assert seen == list(range(1, 4 + 4 * 700))


async def test_a_transaction_that_began_first_and_ends_last_is_not_missed(server: Server, reader: Caller, owner: Connection) -> None:
    about = uuid4()
    async with looking_on(server.port, reader, f"?aggregate={about}") as feed:
        slow = await asyncpg.connect(server.database_url, timeout=10)
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(RECORD, "Rung", about, 1, 1)
        await record(owner, about, 2, 2)
        with pytest.raises(TimeoutError):
            await feed.next(1.0)
        await transaction.commit()
        await slow.close(timeout=10)
    async with looking_on(server.port, reader, f"?aggregate={about}", after="1.1") as feed:
        assert (await feed.numbers(2))[0] == [1, 2]


async def test_a_filter_lets_through_what_is_wanted_and_signs_of_life(server: Server, reader: Caller, owner: Connection) -> None:
    mine, other = uuid4(), uuid4()
    async with looking_on(server.port, reader, f"?name=Answered&aggregate={mine}") as feed:
        for _ in range(8):
            await record(owner, other, 1, 5)
            await asyncio.sleep(TIMEOUT / 8)
        await record(owner, mine, 1, 1)
        await record(owner, mine, 2, 2, "Answered")
        assert (await feed.numbers(1))[0] == [2]
        assert feed.beats >= 2


@pytest.mark.parametrize("who", ["nobody", "stranger"])
async def test_nobody_else_looks_on(server: Server, callers: Callers, who: str) -> None:
    caller = callers.nobody if who == "nobody" else await callers.person(uuid4().hex)
    async with looking_on(server.port, caller) as feed:
        assert feed.head.status == (401 if who == "nobody" else 403)


async def test_a_session_that_ends_ends_the_stream_within_a_second(
    server: Server, client: LiveClient, callers: Callers, owner: Connection
) -> None:
    leaver, about = await callers.sign_in("leaver", ADMIN, ADMIN_PASSWORD), uuid4()
    async with looking_on(server.port, leaver, f"?aggregate={about}") as feed:
        assert (await client.post("/auth/logout", as_=leaver)).status == 204
        _, name, said = await feed.next(1.5)
        assert (name, said["code"]) == ("end", "auth.required") or said["code"].startswith("auth.")
        with pytest.raises(StopAsyncIteration):
            await feed.next()


@pytest.mark.parametrize("after", ["nonsense", "1", "1.2.3", "-1.0", "999999999999999.1"])
async def test_a_place_that_is_none_is_refused(server: Server, reader: Caller, after: str) -> None:
    async with looking_on(server.port, reader, after=after) as feed:
        assert feed.head.status == 422


async def test_one_caller_gets_so_many_streams_and_no_more(serve: Serve, address: Callable[[], str]) -> None:
    server = serve(workers=1)
    async with LiveClient(server.port, address=address, kept=False) as client:
        reader = await Callers(client, ADMIN, ADMIN_PASSWORD).sign_in("reader", ADMIN, ADMIN_PASSWORD)
        opened = [looking_on(server.port, reader) for _ in range(9)]
        feeds = [await one.__aenter__() for one in opened]
        assert [feed.head.status for feed in feeds] == [200] * 8 + [429]
        for one in opened:
            await one.__aexit__(None, None, None)
        await asyncio.sleep(0.3)
        async with looking_on(server.port, reader) as feed:
            assert feed.head.status == 200
        metrics = (await client.call("GET", "/health/metrics", base="")).body.decode()
        assert "fortress_event_streams 1" in metrics or "fortress_event_streams 0" in metrics


async def test_a_stop_sends_everybody_away_and_they_go_on_elsewhere(serve: Serve, address: Callable[[], str]) -> None:
    server, about = serve(workers=1), uuid4()
    async with LiveClient(server.port, address=address, kept=False) as client:
        reader = await Callers(client, ADMIN, ADMIN_PASSWORD).sign_in("reader", ADMIN, ADMIN_PASSWORD)
    owner = await asyncpg.connect(server.database_url, timeout=10)
    async with looking_on(server.port, reader, f"?aggregate={about}") as feed:
        await record(owner, about, 1, 2)
        _, after = await feed.numbers(2)
        server.signal(signal.SIGTERM)
        _, name, said = await feed.next(2.0)
        assert (name, said["code"]) == ("end", "service.stopping")
    assert await asyncio.to_thread(server.wait) == 0
    await record(owner, about, 3, 4)
    await owner.close(timeout=10)
    server.start()
    async with looking_on(server.port, reader, f"?aggregate={about}", after=after) as feed:
        assert (await feed.numbers(2))[0] == [3, 4]
