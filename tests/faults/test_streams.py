"""Long lists over real sockets: whole, at the client's pace, and cut where nobody may take them for whole."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import psutil
import pytest
from tests.faults.conftest import Connection, Serve
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient, Wire
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

# More than all the buffers between a server and a client hold.
ROWS = 60_000
TIMEOUT = 3.0
ORDERS = """
INSERT INTO orders (id, user_id, status, total, lines, created_at, version)
SELECT gen_random_uuid(), $1, 'placed', 1.5, '[]', now() - make_interval(secs => n), 1 FROM generate_series(1, $2::int) AS n"""


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(workers=1, request_timeout=TIMEOUT, kill_seconds=5)


@pytest.fixture
async def buyer(callers: Callers, owner: Connection) -> Caller:
    """Somebody with many orders."""
    buyer = await callers.person(uuid4().hex)
    await owner.execute(ORDERS, buyer.id, ROWS)
    return buyer


def narrow(port: int, address: str) -> socket.socket:
    """A connection whose client holds little that it has not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    made.bind((address, 0))
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


@asynccontextmanager
async def exporting(server: Server, caller: Caller, address: str, path: str = "/api/v1/orders/export") -> AsyncIterator[Wire]:
    async with Wire(*await asyncio.open_connection(sock=narrow(server.port, address))) as wire:
        headers = "".join(f"{name}: {value}\r\n" for name, value in caller.headers.items())
        await wire.send(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n".encode())
        yield wire


async def test_every_row_comes_once_and_in_order(server: Server, buyer: Caller, address: Callable[[], str]) -> None:
    async with exporting(server, buyer, address()) as wire:
        head = await wire.begun()
        body = b"".join([part async for part in wire.parts()])
    assert (head.status, head.headers["content-type"]) == (200, "application/x-ndjson; charset=utf-8")
    assert "content-length" not in head.headers
    orders = [json.loads(line) for line in body.splitlines()]
    assert len({order["id"] for order in orders}) == len(orders) == ROWS
    assert [order["created_at"] for order in orders] == sorted((order["created_at"] for order in orders), reverse=True)
    assert {order["total"] for order in orders} == {"1.50"}


async def test_an_empty_list_is_an_empty_body(callers: Callers, server: Server, address: Callable[[], str]) -> None:
    async with exporting(server, await callers.person(uuid4().hex), address()) as wire:
        answer = await wire.answer()
    assert (answer.status, answer.body) == (200, b"")


async def test_others_rows_are_not_among_them(callers: Callers, buyer: Caller, server: Server, address: Callable[[], str]) -> None:
    stranger = await callers.person(uuid4().hex)
    async with exporting(server, stranger, address()) as wire:
        assert (await wire.answer()).body == b""
    async with exporting(server, Caller("nobody"), address()) as wire:
        assert (await wire.answer()).status == 401


async def test_memory_and_database_wait_for_a_client_that_does_not_read(
    server: Server, buyer: Caller, address: Callable[[], str], owner: Connection
) -> None:
    (worker,) = server.workers
    before = psutil.Process(worker).memory_info().rss
    async with exporting(server, buyer, address()) as wire:
        await wire.begun()
        await asyncio.sleep(TIMEOUT / 2)
        busy = await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fortress' AND state <> 'idle'")
        assert busy == 0
        assert psutil.Process(worker).memory_info().rss - before < 30_000_000
        received = b"".join([part async for part in wire.parts()])
    assert received.count(b"\n") == ROWS


async def test_a_client_that_takes_nothing_until_the_deadline_is_cut(server: Server, buyer: Caller, address: Callable[[], str]) -> None:
    async with exporting(server, buyer, address()) as wire:
        await wire.begun()
        await asyncio.sleep(TIMEOUT + 2)
        with pytest.raises(asyncio.IncompleteReadError):
            [part async for part in wire.parts()]


async def test_a_client_that_leaves_ends_the_work_for_it(
    server: Server, buyer: Caller, address: Callable[[], str], owner: Connection
) -> None:
    async with exporting(server, buyer, address()) as wire:
        await wire.begun()
    asked = (
        "SELECT calls FROM (SELECT sum(seq_scan + coalesce(idx_scan, 0)) AS calls FROM pg_stat_user_tables WHERE relname = 'orders') AS s"
    )
    await asyncio.sleep(1.0)
    before = await owner.fetchval(asked)
    await asyncio.sleep(1.0)
    assert await owner.fetchval(asked) == before


async def test_a_token_that_is_revoked_cuts_the_export(
    server: Server, client: LiveClient, buyer: Caller, address: Callable[[], str]
) -> None:
    async with exporting(server, buyer, address()) as wire:
        await wire.begun()
        assert (await client.post("/auth/logout", as_=buyer)).status == 204
        await asyncio.sleep(1.2)
        with pytest.raises(asyncio.IncompleteReadError):
            [part async for part in wire.parts()]


async def test_a_stop_lets_an_export_come_to_its_end(serve: Serve, address: Callable[[], str]) -> None:
    server = serve(workers=1)
    async with LiveClient(server.port, address=address, kept=False) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
    connection = await asyncpg.connect(server.database_url, timeout=10)
    await connection.execute(ORDERS, buyer.id, ROWS)
    await connection.close(timeout=10)
    async with exporting(server, buyer, address()) as wire:
        await wire.begun()
        server.signal(signal.SIGTERM)
        await asyncio.sleep(1.5)
        began = time.monotonic()
        body = b"".join([part async for part in wire.parts()])
    assert body.count(b"\n") == ROWS
    assert time.monotonic() - began < 5
    assert await asyncio.to_thread(server.wait) == 0
