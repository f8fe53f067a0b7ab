"""The limit store stopped, frozen or slow: no 500, never unlimited, and exact again by itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server
from tests.faults.harness.tap import Flow, Tap

from fortress.testing.client import Reply
from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults

WORKERS = 2
LOGINS = 30
PRODUCTS, PER_SECOND = 600, 10
# Stricter without the store: a quarter of each worker's share.
LOGINS_ALONE = LOGINS // (4 * WORKERS) * WORKERS
STORE_TIMEOUT = 0.3
SLACK = 3.0
LONGEST_PAUSE = 2.0
WRONG = {"email": "nobody@example.com", "password": "not the password"}


@pytest.fixture(scope="module")
def tap(redis_url: str) -> Iterator[Tap]:
    with Tap(redis_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(serve: Serve, tap: Tap) -> Server:
    return serve(workers=WORKERS, redis_url=tap.url, limit_store_timeout=STORE_TIMEOUT)


@pytest.fixture(autouse=True)
def _flowing(tap: Tap) -> Iterator[None]:
    yield
    tap.turn(Flow.PASS)


async def timed(client: LiveClient, method: str, path: str, json: object = None) -> tuple[Reply, float]:
    began = time.monotonic()
    return await client.call(method, path, json=json), time.monotonic() - began


@pytest.mark.parametrize("flow", [Flow.SHUT, Flow.FROZEN, Flow.SLOW])
async def test_ordinary_routes_go_on_within_their_share_and_sensitive_ones_get_stricter(
    flow: Flow, tap: Tap, server: Server, address: Callable[[], str]
) -> None:
    async with LiveClient(server.port, address=address(), kept=False) as client:
        assert (await client.get("/products")).status == 200
        tap.turn(flow, delay=2.0)
        began = time.monotonic()
        ordinary = await asyncio.gather(*(timed(client, "GET", "/products?limit=1") for _ in range(60)))
        logins = await asyncio.gather(*(timed(client, "POST", "/auth/login", WRONG) for _ in range(LOGINS)))
        refilled = (time.monotonic() - began) * LOGINS / 60
    assert Counter(reply.status for reply, _ in ordinary) == {200: 60}
    assert max(seconds for _, seconds in (*ordinary, *logins)) < STORE_TIMEOUT * 2 + SLACK
    found = Counter(reply.status for reply, _ in logins)
    assert set(found) <= {401, 429, 503}
    assert 1 <= found[401] <= LOGINS_ALONE + WORKERS + refilled
    assert all(int(reply.headers["retry-after"]) >= 1 for reply, _ in logins if reply.status in (429, 503))


async def test_nobody_is_unlimited_while_the_store_is_away(tap: Tap, server: Server, address: Callable[[], str]) -> None:
    tap.turn(Flow.SHUT)
    async with LiveClient(server.port, address=address()) as one, LiveClient(server.port, address=address(), kept=False) as client:
        assert (await one.get("/products")).status == 200
        gate, began = asyncio.Semaphore(24), time.monotonic()

        async def ask() -> int:
            async with gate:
                return (await client.get("/products?limit=1")).status

        found = Counter(await asyncio.gather(*(ask() for _ in range(PRODUCTS + 150))))
        refilled = (time.monotonic() - began) * PER_SECOND
    assert set(found) <= {200, 429}
    assert found[200] <= PRODUCTS + refilled + WORKERS


async def test_it_is_exact_again_by_itself_once_the_store_is_back(tap: Tap, server: Server, address: Callable[[], str]) -> None:
    tap.turn(Flow.FROZEN)
    async with LiveClient(server.port, address=address, kept=False) as people:
        assert {(await people.get("/products")).status for _ in range(4)} == {200}
        tap.turn(Flow.PASS)
        await asyncio.sleep(LONGEST_PAUSE)
        for _ in range(20):
            await people.get("/products")
        passed = tap.pieces
        await people.get("/products")
        assert tap.pieces > passed, "the store is asked again"
    async with LiveClient(server.port, address=address(), kept=False) as client:
        began = time.monotonic()
        found = Counter([reply.status for reply in await asyncio.gather(*(client.post("/auth/login", WRONG) for _ in range(LOGINS + 15)))])
        refilled = (time.monotonic() - began) * LOGINS / 60
    assert set(found) == {401, 429}
    assert LOGINS <= found[401] <= LOGINS + refilled + 1


async def test_what_is_not_limited_in_the_database_lives_through_its_absence(serve: Serve, address: Callable[[], str]) -> None:
    """With limits counted in PostgreSQL, the store and the data are away together."""
    with ExitStack() as stack:
        taps: list[Tap] = []

        def through(url: str) -> str:
            taps.append(stack.enter_context(Tap(url)))
            return taps[0].url

        server = serve(through=through, limit_store="postgres", limit_store_timeout=STORE_TIMEOUT, database_wait=0.5, statement_timeout=2)
        async with LiveClient(server.port, address=address, kept=False) as client:
            for flow in (Flow.FROZEN, Flow.SHUT):
                taps[0].turn(flow)
                await _alive_and_honest(server, client)
                taps[0].turn(Flow.PASS)
                async with asyncio.timeout(10):
                    while (await client.get("/products")).status != 200:  # noqa: ASYNC110 - the server tells nobody
                        await asyncio.sleep(0.1)
        assert server.faults() == []
        server.kill9()


async def _alive_and_honest(server: Server, client: LiveClient) -> None:
    for _ in range(3):
        began = time.monotonic()
        alive = await client.call("GET", "/health/live", base="")
        seconds = time.monotonic() - began
        products = await client.get("/products")
        assert alive.status == 200
        assert seconds < STORE_TIMEOUT * 2 + SLACK
        assert products.status in (200, 503), server.faults()
        assert products.status == 200 or int(products.headers["retry-after"]) >= 1
