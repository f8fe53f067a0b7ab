"""Sign-in with others in real servers: begun on one worker and finished on another; a provider that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from tests.faults.harness.serving import Server
from tests.providers.browser import Browser
from tests.providers.hostile import CLIENT_ID, CLIENT_SECRET, Answered, Issuer, listening

from fortress.testing.live import LiveClient

pytestmark = [pytest.mark.faults, pytest.mark.timeout(150)]

AT_ONCE: Final = 12
Serve = Callable[..., Server]


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with listening() as made:
        yield made


@pytest.fixture
async def served(serve: Serve, issuer: Issuer) -> Server:
    """Two workers that know the issuer."""
    acme: dict[str, Any] = {
        "kind": "oidc",
        "issuer": issuer.url,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "client_auth": "post",
    }
    return await asyncio.to_thread(serve, providers=json.dumps({"acme": acme}), log_level="debug")


async def test_any_worker_finishes_what_another_began(served: Server, issuer: Issuer, address: Callable[[], str]) -> None:
    """ASVS V10.1.1, V16.2.5 besides: nothing of it is in the log."""
    async with LiveClient(served.port, address=address, kept=False) as client:
        secrets: list[str] = [CLIENT_SECRET]
        for _ in range(10):
            browser = Browser(client)
            returned = issuer.authorize(await browser.start())
            reply = await browser.complete(returned, session="cookie")
            assert reply.status == 200, reply.body
            assert (await browser.complete(returned)).code == "auth.provider_flow_lost"
            secrets += [returned["code"], returned["state"], *browser.cookies.values()]
    assert issuer.asked["/jwks"] <= len(served.workers)
    logged = json.dumps(served.log_lines())
    assert not [secret for secret in [*secrets, *issuer.tokens, "ann@example.com"] if secret in logged]
    assert not served.faults()


async def test_a_provider_that_hangs_holds_nobody_up(served: Server, issuer: Issuer, address: Callable[[], str]) -> None:
    """API10: whoever waits for it is answered in the end, and everybody else meanwhile."""
    async with LiveClient(served.port, address=address, kept=False) as client:
        browsers = [Browser(client) for _ in range(AT_ONCE)]
        returned = [issuer.authorize(await browser.start()) for browser in browsers]
        arrived = asyncio.Semaphore(0)

        def hanging() -> Answered:
            arrived.release()
            return Answered({}, after=60)

        issuer.answers["/token"] = hanging
        waiting = [asyncio.create_task(browser.complete(one)) for browser, one in zip(browsers, returned, strict=True)]
        for _ in waiting:
            await arrived.acquire()
        for _ in range(5):
            assert (await client.get("/auth/providers")).status == 200
            assert (await client.get("/users/me")).status == 401
        assert not any(task.done() for task in waiting), "the others were answered while these waited"
        replies = await asyncio.gather(*waiting)
    assert {(reply.status, reply.code) for reply in replies} == {(503, "auth.provider_unavailable")}
    assert not served.faults()
