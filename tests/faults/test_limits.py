"""Limits across real server processes: never more than the quota, not less than 95 % of it, and headers that say so."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.answers import header_values
from tests.faults.harness.serving import Server

from fortress.testing.client import Reply
from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults

PRODUCTS, PRODUCTS_WINDOW = 600, 60
LOGINS, LOGINS_WINDOW = 30, 60
AT_ONCE = 24
POLICY = re.compile(r'"(?P<name>[ -!#-\[\]-~]+)";q=(?P<q>\d+);w=(?P<w>[1-9]\d*)')
STATE = re.compile(r'"(?P<name>[ -!#-\[\]-~]+)";r=(?P<r>\d+);t=(?P<t>\d+)')


@pytest.fixture(scope="module", params=["postgres", "redis"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    """Three workers, that count in each of the stores that there are."""
    if request.param == "redis":
        return serve(workers=3, redis_url=request.getfixturevalue("redis_url"))
    return serve(workers=3, limit_store="postgres")


async def called(client: LiveClient, count: int, call: Callable[[], Any]) -> list[Reply]:
    """Many calls, some at once, each on whatever worker the kernel gives it."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> Reply:
        async with gate:
            reply: Reply = await call()
            return reply

    return await asyncio.gather(*(one() for _ in range(count)))


def statuses(replies: list[Reply]) -> Counter[int]:
    return Counter(reply.status for reply in replies)


async def test_no_more_than_the_quota_and_no_less_than_95_percent_over_three_processes(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address(), kept=False) as client:
        await called(client, 1, lambda: client.get("/products?limit=1"))
        began = time.monotonic()
        before = await called(client, int(PRODUCTS * 0.95) - 1, lambda: client.get("/products?limit=1"))
        assert statuses(before) == {200: len(before)}, "refused while more than 5 % remained"
        after = await called(client, 200, lambda: client.get("/products?limit=1"))
        seconds = time.monotonic() - began
    workers = {line["worker"] for line in server.log_lines() if line.get("route") == "/api/v1/products"}
    assert len(workers) == 3
    admitted = 1 + statuses(before)[200] + statuses(after)[200]
    assert admitted <= PRODUCTS + seconds * PRODUCTS / PRODUCTS_WINDOW + 1
    assert set(statuses(after)) <= {200, 429}
    if seconds < 10:
        assert statuses(after)[429] > 0


async def test_tokens_in_the_hands_of_other_processes_are_less_than_5_percent(server: Server, address: Callable[[], str]) -> None:
    own = address()
    async with LiveClient(server.port, address=own, kept=False) as spread, LiveClient(server.port, address=own) as alone:
        spent = statuses(await called(spread, 60, lambda: spread.get("/products?limit=1")))[200]
        while (await alone.get("/products?limit=1")).status == 200:
            spent += 1
    assert spent >= PRODUCTS * 0.95


async def test_a_strict_limit_is_exact(server: Server, address: Callable[[], str]) -> None:
    wrong = {"email": "nobody@example.com", "password": "not the password"}
    async with LiveClient(server.port, address=address(), kept=False) as client:
        began = time.monotonic()
        replies = await called(client, LOGINS * 2, lambda: client.post("/auth/login", wrong))
        refilled = (time.monotonic() - began) * LOGINS / LOGINS_WINDOW
    assert set(statuses(replies)) == {401, 429}
    assert LOGINS <= statuses(replies)[401] <= LOGINS + refilled + 1


async def test_the_headers_parse_and_count_down(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address(), kept=False) as client:
        replies = [await client.get("/products?limit=1") for _ in range(10)]
        wrong = await called(client, LOGINS + 10, lambda: client.post("/auth/login", {"email": "a@example.com", "password": "wrong one"}))
    for reply in (*replies, *wrong):
        policy, state = POLICY.fullmatch(reply.headers["ratelimit-policy"]), STATE.fullmatch(reply.headers["ratelimit"])
        assert policy is not None
        assert state is not None
        assert policy["name"] == state["name"]
        assert int(state["r"]) < int(policy["q"])
        assert all(len(header_values(reply)[name]) == 1 for name in ("ratelimit", "ratelimit-policy"))
    refused = [reply for reply in wrong if reply.status == 429]
    assert refused
    for reply in refused:
        state = STATE.fullmatch(reply.headers["ratelimit"])
        assert state is not None
        assert state["r"] == "0"
        assert 1 <= int(state["t"]) <= int(reply.headers["retry-after"]) <= LOGINS_WINDOW
        assert reply.headers["content-type"].startswith("application/problem+json")


async def test_who_waits_as_long_as_told_is_served(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address(), kept=False) as client:
        wrong = {"email": "nobody@example.com", "password": "not the password"}
        replies = await called(client, LOGINS + 5, lambda: client.post("/auth/login", wrong))
        waits = max(int(reply.headers["retry-after"]) for reply in replies if reply.status == 429)
        assert waits <= 10
        await asyncio.sleep(waits)
        assert (await client.post("/auth/login", wrong)).status == 401


async def test_people_have_quotas_of_their_own(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address(), kept=False) as spender:
        wrong = {"email": "nobody@example.com", "password": "not the password"}
        assert 429 in statuses(await called(spender, LOGINS + 10, lambda: spender.post("/auth/login", wrong)))
        async with LiveClient(server.port, address=address()) as other:
            assert (await other.post("/auth/login", wrong)).status == 401
