"""Facts on their way to another service, while relays are frozen and killed and the broker is away."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server
from tests.faults.harness.tap import Flow, Tap

from fortress.testing.callers import Callers
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from fortress.testing.servers import NATS_URL

# A lease lasts some seconds, and both of the relays lose theirs.
pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

SKU: Final = "TEA-GREEN"
LISTENER: Final = "listener:app"
_LISTENER: Final = """
from fortress import Domain, Fortress
from fortress.domains import standard
from fortress.events import on
from shop.orders.events import OrderPlaced

@on(OrderPlaced)
async def note(fact: OrderPlaced) -> None: ...

app = Fortress(title="Listener", domains=[*standard, Domain(name="listener", handlers=[note])])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "listener.py").write_text(_LISTENER)
    return write_generous(tmp_path)


async def test_each_order_is_heard_once_whoever_is_frozen_or_killed(serve: Callable[..., Server], project: Path, stream: str) -> None:
    broker: dict[str, Any] = {"broker_url": NATS_URL, "limit_store": "memory", "workers": 1}
    there = await asyncio.to_thread(
        serve, target=LISTENER, directory=project, broker_stream=f"{stream}_there", broker_hear=stream, **broker
    )
    first = await asyncio.to_thread(
        serve, target=GENEROUS, directory=project, broker_stream=stream, failpoint="before_publish:pause@hit=2", **broker
    )
    second = Server(first.database_url, first.state_dir, target=GENEROUS, directory=project, broker_stream=stream, **broker)
    await asyncio.to_thread(second.start)
    try:
        placed = await _orders(second, 3)
        await _until(lambda: _heard(there, placed))
        placed += await _orders(second, 10)
        # The first one holds these and can't move; the second one sends them when the lease has ended.
        await _end_lease(second)
        await _until(lambda: _heard(there, placed))
        first.thaw()
        placed += await _orders(first, 5)
        second.kill9()
        await _end_lease(first)
        placed += await _orders(first, 5)
        await _until(lambda: _heard(there, placed))
    finally:
        second.kill9()
    counted = Counter(await _aggregates(there))
    assert set(placed) == counted.keys()
    assert set(counted.values()) == {1}


async def test_while_the_broker_is_away_orders_are_placed_and_the_lag_is_seen(
    serve: Callable[..., Server], project: Path, stream: str
) -> None:
    with Tap(NATS_URL) as tap:
        tap.turn(Flow.SHUT)
        more = {"broker_url": tap.url, "broker_stream": stream, "limit_store": "memory", "workers": 1}
        server = await asyncio.to_thread(serve, target=GENEROUS, directory=project, **more)
        placed = await _orders(server, 5)
        async with LiveClient(server.port, base="") as client:
            await _until(lambda: _lag(client, above=0.5))
            tap.turn(Flow.PASS)
            await _until(lambda: _sent(client, len(placed)))
            await _until(lambda: _lag(client, above=None))


async def _end_lease(server: Server) -> None:
    """What the clock would do in some seconds."""
    connection = await asyncpg.connect(server.database_url, timeout=10)
    try:
        await connection.execute("UPDATE broker_leases SET held_until = clock_timestamp() WHERE name LIKE 'to %'")
    finally:
        await connection.close(timeout=10)


async def _orders(server: Server, count: int) -> list[UUID]:
    async with LiveClient(server.port) as client:
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
        answers = [await client.post("/orders", {"items": [{"sku": SKU, "quantity": 1}]}, as_=buyer) for _ in range(count)]
    assert [answer.status for answer in answers] == [201] * count
    return [UUID(answer.json()["id"]) for answer in answers]


async def _heard(server: Server, orders: list[UUID]) -> bool:
    return set(orders) <= set(await _aggregates(server))


async def _aggregates(server: Server) -> list[UUID]:
    connection = await asyncpg.connect(server.database_url, timeout=10)
    try:
        rows = await connection.fetch("SELECT aggregate FROM events WHERE name = 'OrderPlaced' ORDER BY tx, seq")
    finally:
        await connection.close(timeout=10)
    return [UUID(bytes=row["aggregate"].bytes) for row in rows]


async def _metric(client: LiveClient, name: str) -> float:
    text = (await client.get("/health/metrics")).body.decode()
    found = re.search(rf"^fortress_{name}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def _lag(client: LiveClient, *, above: float | None) -> bool:
    lag = await _metric(client, "relay_lag_seconds")
    return lag == 0 if above is None else lag > above


async def _sent(client: LiveClient, count: int) -> bool:
    return await _metric(client, "relay_sent_total") >= count


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await true():  # noqa: ASYNC110 - other processes tell us nothing
            await asyncio.sleep(0.1)
