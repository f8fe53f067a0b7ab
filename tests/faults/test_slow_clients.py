"""Clients that send as slowly as they can: everyone else is served, and they are cut at the timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server

from fortress.testing.live import LiveClient, Wire

pytestmark = pytest.mark.faults

TIMEOUT = 2.0
# A busy machine runs its timers late.
SLACK = 6.0
HEAD = b"GET /api/v1/products HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
BODY = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
CHUNKS = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERED = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(header_timeout=TIMEOUT, body_timeout=TIMEOUT)


class Dribble:
    """One slow client: sends a beginning, then a byte now and then, until it is cut."""

    def __init__(self, beginning: bytes, drop: bytes) -> None:
        self._beginning = beginning
        self._drop = drop
        self.answered = b""
        self.lasted = 0.0

    async def run(self, port: int, address: str) -> None:
        async with await Wire.open(port, address) as wire:
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                await wire.send(self._beginning)
                while time.monotonic() - began < TIMEOUT + SLACK:
                    self.answered = await wire.first(0.4)
                    if wire.closing or self.answered:
                        break
                    await wire.send(self._drop)
            self.lasted = time.monotonic() - began


def attackers() -> Iterator[Dribble]:
    for _ in range(60):
        yield Dribble(HEAD, b"a")
        yield Dribble(BODY, b" ")
        yield Dribble(CHUNKS, b"1\r\n{\r\n")
        yield Dribble(b"", b"")


async def test_slow_heads_slow_bodies_and_silence_hold_nobody_up(server: Server, address: Callable[[], str]) -> None:
    slow = list(attackers())
    running = [asyncio.create_task(one.run(server.port, address())) for one in slow]
    statuses = []
    async with LiveClient(server.port, address=address, kept=False) as healthy:
        while not all(task.done() for task in running):
            statuses.append((await healthy.get("/products")).status)
            await asyncio.sleep(0.05)
    await asyncio.gather(*running)
    assert len(statuses) > 10
    assert set(statuses) == {200}
    assert min(one.lasted for one in slow) > TIMEOUT / 2
    assert max(one.lasted for one in slow) < TIMEOUT + SLACK
    told = [one.answered for one in slow if one.answered]
    assert len(told) == 120, "each slow body is told what it did"
    assert all(answer.startswith(b"HTTP/1.1 408 ") and b"connection: close" in answer for answer in told)


async def test_a_kept_connection_that_falls_silent_is_closed(server: Server, address: Callable[[], str]) -> None:
    async with await Wire.open(server.port, address()) as wire:
        await wire.send(ANSWERED)
        assert (await wire.answer()).status == 200
        assert await wire.closed(TIMEOUT + SLACK)


async def test_a_client_that_hangs_up_amid_its_body_harms_nobody(server: Server, address: Callable[[], str], client: LiveClient) -> None:
    for _ in range(20):
        async with await Wire.open(server.port, address()) as wire:
            await wire.send(BODY)
    assert (await client.get("/products")).status == 200
    assert server.faults() == []
