"""Webhooks on a real server: an order over HTTP becomes a signed call to a receiver that fails, while the server is killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from tests.faults.harness.serving import Server
from tests.outward.receiver import Receiver, receiving, saying

from fortress.testing.callers import Callers
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

# What a killed worker had is taken back when it has been silent for a while, and a failed try waits for minutes: both are made to come.
HASTEN: Final = """
UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id IN (SELECT worker_id FROM procrastinate_jobs);
UPDATE procrastinate_jobs SET scheduled_at = now() WHERE scheduled_at > now() AND task_name = 'webhooks.deliver'"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(saying(204)) as made:
        yield made


@pytest.fixture
async def server(serve: Callable[..., Server]) -> Server:
    """One worker, which dies whenever a receiver has answered."""
    options = {"workers": 1, "jobs_grace": 1, "webhook_networks": "127.0.0.0/8", "failpoint": "webhooks.answered:kill"}
    return await asyncio.to_thread(lambda: serve(**options))


async def until(owner: Connection, so: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await so():
            await owner.execute(HASTEN)
            await asyncio.sleep(0.1)


async def subscribed(client: LiveClient, callers: Callers, url: str) -> tuple[str, str]:
    """A webhook on placed orders, its id and its secret; and an order."""
    admin = await callers.administrator()
    wish = {"name": "Books", "url": url, "facts": ["OrderPlaced"], "everyone": True}
    made = await client.post("/webhooks", wish, as_=admin)
    assert made.status == 201, made.json()
    buyer = await callers.person()
    sku = (await client.get("/products", as_=buyer)).json()["items"][0]["sku"]
    placed = await client.post("/orders", {"items": [{"sku": sku, "quantity": 1}]}, as_=buyer)
    assert placed.status == 201
    return made.json()["id"], made.json()["secret"]


async def test_an_order_is_told_until_it_is_taken_and_is_the_same_each_time(server: Server, owner: Connection, receiver: Receiver) -> None:
    """FAULTS: kill -9 between the receiver's answer and our commit, and a receiver that fails first."""
    receiver.behaviour = saying(503)
    async with LiveClient(server.port) as client:
        webhook, secret = await subscribed(client, Callers(client, ADMIN, ADMIN_PASSWORD), receiver.url)

        async def asked_twice() -> bool:
            return len(receiver.requests) >= 2

        await until(owner, asked_twice)
    assert await owner.fetchval("SELECT attempts::text FROM webhook_deliveries") == "[]"
    await asyncio.to_thread(server.kill9)
    server.settings["failpoint"] = ""
    receiver.behaviour = saying(204)

    async def delivered() -> bool:
        return bool(await owner.fetchval("SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered'"))

    await asyncio.to_thread(server.start)
    await until(owner, delivered)
    assert len({(headers["webhook-id"], body) for headers, body in receiver.requests}) == 1
    headers, body = receiver.requests[-1]
    assert Verifier(secret).verify(body, headers) == json.loads(body)
    assert json.loads(body)["type"] == "OrderPlaced"
    assert abs(datetime.now(UTC).timestamp() - int(headers["webhook-timestamp"])) < 60
    assert await owner.fetchval("SELECT count(*) FROM webhook_deliveries") == 1
    async with LiveClient(server.port) as client:
        admin = await Callers(client, ADMIN, ADMIN_PASSWORD).administrator()
        (log,) = (await client.get(f"/webhooks/{webhook}/deliveries", as_=admin)).json()["items"]
    assert (log["state"], log["attempts"][-1]["status"]) == ("delivered", 204)
    said = "\n".join(map(str, server.log_lines()))
    assert secret not in said
    assert "MARKER" not in said
