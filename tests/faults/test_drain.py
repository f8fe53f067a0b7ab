"""Stops under load: the polite one loses no request, the impatient one is quick, and a killed worker is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server

from fortress.testing.live import Wire
from fortress.testing.processes import eventually

pytestmark = pytest.mark.faults

CLIENTS: Final = 16
DRAIN: Final = 2.0
ASK: Final = b"GET /api/v1/products HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Balancer:
    """What stands before a server: asks for its readiness, and sends nobody there once it is not ready."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.open = True
        self.seen: list[int] = []

    async def watch(self) -> None:
        while self.open:
            self.seen.append(await asyncio.to_thread(self._server.readiness))
            self.open = self.seen[-1] == 200
            await asyncio.sleep(0.05)


class Visitor:
    """Asks again and again on a kept connection, and opens another while the balancer lets it."""

    def __init__(self, server: Server, address: str, balancer: Balancer) -> None:
        self._server = server
        self._address = address
        self._balancer = balancer
        self.answered = 0
        self.told_to_close = False
        self.failures: list[str] = []

    async def run(self) -> None:
        while self._balancer.open:
            async with await Wire.open(self._server.port, self._address) as wire:
                try:
                    await self._stay(wire)
                except ConnectionError as error:
                    self.failures.append(repr(error))
                    return

    async def _stay(self, wire: Wire) -> None:
        while not wire.closing:
            await wire.send(ASK)
            reply = await wire.answer()
            if reply.status not in (200, 429):
                self.failures.append(f"{reply.status}")
            self.answered += 1
            await asyncio.sleep(0.02)
        self.told_to_close = True


async def test_sigterm_under_load_loses_no_request(serve: Serve, address: Callable[[], str]) -> None:
    server = serve(drain_seconds=DRAIN)
    balancer = Balancer(server)
    visitors = [Visitor(server, address(), balancer) for _ in range(CLIENTS)]
    running = [asyncio.create_task(work) for work in (balancer.watch(), *(visitor.run() for visitor in visitors))]
    async with asyncio.timeout(20):
        while min(visitor.answered for visitor in visitors) < 5:  # noqa: ASYNC110 - sixteen counters, no event
            await asyncio.sleep(0.05)
        server.signal(signal.SIGTERM)
        await asyncio.gather(*running)
    assert await asyncio.to_thread(server.wait) == 0
    assert balancer.seen[-1] == 503, "it must say that it leaves while it still listens"
    assert [visitor.failures for visitor in visitors] == [[]] * CLIENTS
    assert all(visitor.told_to_close for visitor in visitors)
    errors = [line for line in server.log_lines() if line.get("level") in ("error", "critical")]
    assert not [line for line in errors if line.get("route") != "/health/ready"]
    assert not server.workers


async def test_a_request_under_way_is_finished_after_the_listener_has_closed(serve: Serve, address: Callable[[], str]) -> None:
    server = serve(drain_seconds=0.1)
    body = b'{"email": "nobody@example.com", "password": "not the password"}'
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    async with await Wire.open(server.port, address()) as wire:
        await wire.send(head + body[:10])
        await asyncio.to_thread(eventually, lambda: server.readiness() == 200)
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(eventually, lambda: server.readiness() == 0)
        await wire.send(body[10:])
        reply = await wire.answer()
        assert (reply.status, wire.closing) == (401, True)
    assert await asyncio.to_thread(server.wait) == 0


def test_the_second_ctrl_c_is_quick(serve: Serve) -> None:
    server = serve(drain_seconds=60)
    server.signal(signal.SIGINT)
    assert eventually(lambda: server.readiness() == 503)
    began = time.monotonic()
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert time.monotonic() - began < 15


async def test_a_killed_worker_is_replaced_and_none_outlives_a_killed_server(serve: Serve, address: Callable[[], str]) -> None:
    server = serve()
    before = server.workers
    os.kill(before[0], signal.SIGKILL)
    async with asyncio.timeout(20):
        served = 0
        while served < 20:
            async with await Wire.open(server.port, address()) as wire:
                await wire.send(ASK)
                try:
                    served += (await wire.answer()).status == 200
                except ConnectionError:
                    # The kernel had handed it to the dead one.
                    served = 0
    assert await asyncio.to_thread(eventually, lambda: len(server.workers) == 2, 20)
    assert before[0] not in server.workers
    assert before[1] in server.workers
    assert server.readiness() == 200
    await asyncio.to_thread(nobody_outlives, server)


def nobody_outlives(server: Server) -> None:
    """Workers go when the main process is killed: an orphan would hold the port."""
    workers = server.workers
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    assert eventually(lambda: not any(alive(pid) for pid in workers))
    assert server.readiness() == 0


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
