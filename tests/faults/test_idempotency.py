"""A server that dies around the commit of an order: whoever asks again with the same key has one order, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

BASKET = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
KEY = {"idempotency-key": "the-one-order"}


@pytest.fixture
async def server(serve: Callable[..., Server]) -> Server:
    # Jobs and subscribers commit too: what is to be killed is the request.
    return await asyncio.to_thread(lambda: serve(workers=1, worker="apart"))


async def anew(server: Server, failpoint: str) -> None:
    await asyncio.to_thread(server.kill9)
    server.settings["failpoint"] = failpoint
    await asyncio.to_thread(server.start)


@pytest.mark.parametrize(("failpoint", "replayed"), [("after_commit_before_answer:kill", True), ("before_answer_is_kept:kill", False)])
async def test_an_order_is_placed_once_whenever_the_server_dies(
    server: Server, address: Callable[[], str], failpoint: str, replayed: bool
) -> None:
    async with LiveClient(server.port, address=address) as client:
        buyer: Caller = await Callers(client, ADMIN, ADMIN_PASSWORD).person("ann")
    await anew(server, failpoint)
    async with LiveClient(server.port, address=address, kept=False) as client:
        with pytest.raises(ConnectionError):
            await client.post("/orders", BASKET, headers=KEY, as_=buyer)
    await anew(server, "")
    async with LiveClient(server.port, address=address, kept=False) as client:
        answer = await client.post("/orders", BASKET, headers=KEY, as_=buyer)
        assert answer.status == 201
        assert ("idempotency-replayed" in answer.headers) is replayed
        (order,) = (await client.get("/orders", as_=buyer)).json()["items"]
    assert order == answer.json()
