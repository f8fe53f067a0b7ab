"""Nobody learns from an answer, or from its time, whether somebody has an account (ASVS V6.3.8)."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any, Final

import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Reply
from fortress.testing.live import LiveClient

pytestmark = [pytest.mark.faults, pytest.mark.timeout(150)]

SAMPLES: Final = 100
ROUNDS: Final = 3
P: Final = 0.01
# What no attacker can see beside the noise of a network: a difference of the medians within this share of them.
NOISE: Final = 0.02
# Of an answer that takes less than a millisecond two in a hundred is less than what the loopback itself varies by.
LEAST_SECONDS: Final = 0.0001
WARM_UP: Final = 10
VARYING: Final = {"x-request-id", "date", "ratelimit", "content-length", "location"}
Ask = Callable[[LiveClient], Awaitable[Reply]]


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """One worker with the hashes of a real site, as an attacker would choose their target."""
    project = write_generous(tmp_path_factory.mktemp("project"))
    return serve(target=GENEROUS, directory=project, limit_store="memory", workers=1, argon2_memory=19_456, argon2_time=2)


@pytest.fixture
async def wire(server: Server, address: Callable[[], str]) -> AsyncIterator[LiveClient]:
    """One kept connection: making one is no part of the time."""
    async with LiveClient(server.port, address=address()) as client:
        yield client


def shape(reply: Reply) -> Any:
    """All of an answer that may not differ."""
    body = reply.json()
    headers = sorted((name, value) for name, value in reply.headers.items() if name not in VARYING)
    varying = {"instance", "request_id", "timestamp", "id", "email", "created_at"}
    return reply.status, headers, {k: type(v).__name__ if k in varying else v for k, v in body.items()}, set(reply.headers)


async def timed(client: LiveClient, ask: Ask) -> tuple[float, Any]:
    began = time.perf_counter()
    reply = await ask(client)
    return time.perf_counter() - began, shape(reply)


def p_value(one: list[float], other: list[float]) -> float:
    """Mann-Whitney's U, two-sided, by the normal approximation: how likely such a difference is when there is none."""
    ranked = sorted((value, group) for group, values in enumerate((one, other)) for value in values)
    ranks = sum(place for place, (_, group) in enumerate(ranked, 1) if group == 0)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    deviation = math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(u - n * m / 2) / deviation / math.sqrt(2))


async def assert_alike(client: LiveClient, known: Ask, unknown: Ask) -> None:
    """The same answer in the same time. Samples alternate, so that a busy machine disturbs both alike."""
    for _ in range(WARM_UP):
        await known(client)
        await unknown(client)
    times: tuple[list[float], list[float]] = ([], [])
    shapes: list[Any] = []
    medians: list[float] = []
    for _ in range(ROUNDS):
        for number in range(SAMPLES):
            pair = ((0, known), (1, unknown)) if number % 2 else ((1, unknown), (0, known))
            for group, ask in pair:
                seconds, seen = await timed(client, ask)
                times[group].append(seconds)
                shapes.append(seen)
        assert all(seen == shapes[0] for seen in shapes), (shapes[0], next(seen for seen in shapes if seen != shapes[0]))
        medians = [statistics.median(group) for group in times]
        if p_value(*times) > P or abs(medians[0] - medians[1]) < max(LEAST_SECONDS, NOISE * min(medians)):
            return
    pytest.fail(f"told apart by time: p = {p_value(*times):.2g}, medians {[round(m * 1000, 2) for m in medians]} ms")


@pytest.fixture
async def somebody(callers: Callers) -> str:
    return (await callers.person(f"somebody-{os.urandom(4).hex()}")).email


async def test_signing_in_does_not_tell_who_has_an_account(wire: LiveClient, somebody: str) -> None:
    numbers = count()

    def known(client: LiveClient) -> Awaitable[Reply]:
        return client.post("/auth/login", {"email": somebody, "password": "not the one it is"})

    def unknown(client: LiveClient) -> Awaitable[Reply]:
        return client.post("/auth/login", {"email": f"nobody-{next(numbers):08x}@example.com", "password": "not the one it is"})

    await assert_alike(wire, known, unknown)


async def test_signing_in_does_not_tell_whose_account_is_disabled(
    wire: LiveClient, somebody: str, callers: Callers, client: LiveClient
) -> None:
    """With the right password, too: who knows it learns nothing of what became of the account."""
    listed = (await client.get("/users?limit=100", as_=await callers.administrator())).json()["items"]
    id = next(one["id"] for one in listed if one["email"] == somebody)
    assert (await client.patch(f"/users/{id}", {"status": "disabled"}, as_=await callers.administrator())).status == 200
    refused = await wire.post("/auth/login", {"email": somebody, "password": PASSWORD})
    wrong = await wire.post("/auth/login", {"email": somebody, "password": "not the one it is"})
    nobody = await wire.post("/auth/login", {"email": "nobody@example.com", "password": PASSWORD})
    assert shape(refused) == shape(wrong) == shape(nobody)
    assert refused.status == 401


async def test_signing_up_does_not_tell_who_has_an_account(wire: LiveClient, somebody: str) -> None:
    numbers = count()

    def known(client: LiveClient) -> Awaitable[Reply]:
        return client.post("/users", {"email": somebody, "password": PASSWORD, "age": 30})

    def unknown(client: LiveClient) -> Awaitable[Reply]:
        return client.post("/users", {"email": f"somebody-{next(numbers):08x}@example.com", "password": PASSWORD, "age": 30})

    await assert_alike(wire, known, unknown)


@pytest.mark.parametrize("path", ["/auth/password/forgot", "/auth/email/resend"])
async def test_asking_for_a_mail_does_not_tell_who_has_an_account(wire: LiveClient, somebody: str, path: str) -> None:
    numbers = count()

    def known(client: LiveClient) -> Awaitable[Reply]:
        return client.post(path, {"email": somebody})

    def unknown(client: LiveClient) -> Awaitable[Reply]:
        return client.post(path, {"email": f"nobody-{next(numbers):08x}@example.com"})

    await assert_alike(wire, known, unknown)


async def test_changing_an_address_does_not_tell_whose_another_one_is(wire: LiveClient, somebody: str, callers: Callers) -> None:
    """A quick answer without a hash, so that a difference could be seen: who asks has just signed in."""
    me, numbers = await callers.person(f"asker-{os.urandom(4).hex()}"), count()

    def known(client: LiveClient) -> Awaitable[Reply]:
        return client.post("/users/me/email", {"new_email": somebody}, as_=me)

    def unknown(client: LiveClient) -> Awaitable[Reply]:
        return client.post("/users/me/email", {"new_email": f"nobody-{next(numbers):08x}@example.com"}, as_=me)

    await assert_alike(wire, known, unknown)
