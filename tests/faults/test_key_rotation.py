"""Signing keys change under load without a false refusal; what is retired ends; made-up key ids cost nothing (ASVS V11.2.2, V13.3.4)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.clock import FixedClock
from fortress.security.encoding import to_base64url
from fortress.security.keyfile import open_keyring
from fortress.security.keys import LOOK_SECONDS
from fortress.security.refusals import InvalidToken
from fortress.security.tokens import AccessTokens
from fortress.settings import Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults

PEOPLE: Final = 4
MADE_UP: Final = 500


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two workers, under limits that don't get into the way."""
    return serve(target=GENEROUS, directory=write_generous(tmp_path_factory.mktemp("project")), limit_store="memory")


def kid(token: str) -> str:
    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=="))["kid"])


def with_kid(token: str, kid: str) -> str:
    """The token under another key's id."""
    header = msgspec.json.encode({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"})
    return f"{to_base64url(header)}.{token.partition('.')[2]}"


def bearer(token: str) -> Caller:
    return Caller("somebody", headers={"authorization": f"Bearer {token}"})


class Load:
    """People who refresh their tokens on one worker and read with them on every worker."""

    def __init__(self, workers: list[LiveClient]) -> None:
        self._workers = workers
        self.seen: Counter[tuple[str, int]] = Counter()
        self.newest: dict[int, str] = {}
        self.over = False

    async def person(self, number: int, pair: dict[str, Any]) -> None:
        home = self._workers[number % len(self._workers)]
        while not self.over:
            self.newest[number] = kid(pair["access_token"])
            for worker in self._workers:
                self.seen["read", (await worker.get("/users/me", as_=bearer(pair["access_token"]))).status] += 1
            renewed = await home.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
            self.seen["refresh", renewed.status] += 1
            pair = renewed.json()

    @asynccontextmanager
    async def running(self, pairs: list[dict[str, Any]]) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.person(number, pair)) for number, pair in enumerate(pairs)]
        try:
            yield
        finally:
            self.over = True
            await asyncio.gather(*tasks)


async def rotate(server: Server) -> str:
    """The id of the key that signs from now on."""
    rotated = await asyncio.to_thread(server.run, "keys", "rotate")
    assert rotated.returncode == 0, rotated.stderr
    return rotated.stdout.partition("signed by ")[2].split()[0]


async def published_by(worker: LiveClient) -> set[str]:
    """The ids of the keys by which this worker says that tokens may be signed."""
    return {key["kid"] for key in (await worker.call("GET", "/.well-known/jwks.json", base="")).json()["keys"]}


async def test_two_rotations_under_load_refuse_nobody_and_old_tokens_live_on(
    server: Server, callers: Callers, client: LiveClient, address: Callable[[], str]
) -> None:
    emails = [(await callers.person(f"person-{os.urandom(4).hex()}")).email for _ in range(PEOPLE)]
    first = [await callers.tokens(email, PASSWORD) for email in emails]
    keep = await callers.tokens(emails[0], PASSWORD)
    async with each_worker(server, address) as workers:
        load = Load(list(workers.values()))
        async with load.running(first):
            # One right after the other: a worker that has not looked meets a key that it was never told of.
            await rotate(server)
            signing = await rotate(server)
            async with asyncio.timeout(20):
                while set(load.newest.values()) != {signing}:  # noqa: ASYNC110 - the load changes it, and tells nobody
                    await asyncio.sleep(0.05)
    assert set(load.seen) == {("read", 200), ("refresh", 200)}, load.seen
    assert load.seen["read", 200] > 100
    for _ in range(4):
        assert (await client.get("/users/me", as_=bearer(keep["access_token"]))).status == 200
    # A worker that met only the newest key has not looked yet, and knows nothing of the one between; it looks every few seconds.
    expected = {signing, kid(keep["access_token"])}
    async with each_worker(server, address) as workers, asyncio.timeout(2 * LOOK_SECONDS):
        for worker in workers.values():
            while len(published := await published_by(worker)) != 4:
                assert expected <= published
                await asyncio.sleep(0.1)
            assert expected < published, "two retired, one that signs, one that is next"


async def test_a_flood_of_made_up_key_ids_is_refused_and_slows_nobody(server: Server, callers: Callers, address: Callable[[], str]) -> None:
    good = await callers.tokens((await callers.person()).email, PASSWORD)
    made_up = [with_kid(good["access_token"], f"{kid(good['access_token'])[:-4]}{number:04x}") for number in range(MADE_UP)]
    async with each_worker(server, address) as workers:

        async def flood(worker: LiveClient) -> set[int]:
            return {(await worker.get("/users/me", as_=bearer(token))).status for token in made_up}

        began = time.monotonic()
        floods = asyncio.gather(*(flood(worker) for worker in workers.values()))
        async with LiveClient(server.port, address=address()) as honest:
            while not floods.done():
                assert (await honest.get("/users/me", as_=bearer(good["access_token"]))).status == 200
        assert await floods == [{401}] * len(workers)
        assert time.monotonic() - began < 10


def test_a_retired_key_is_refused_after_the_overlap_and_made_up_ids_load_nothing(tmp_path: Path) -> None:
    clock = FixedClock(datetime(2026, 5, 1, tzinfo=UTC))
    settings = Settings(state_dir=tmp_path)
    ring = open_keyring(settings, clock)
    tokens = AccessTokens(ring, clock, issuer="us", audience="us", lifetime=timedelta(days=1))
    old = tokens.issue(UUID(int=1), UUID(int=2)).text
    elsewhere = open_keyring(settings, clock)
    elsewhere.rotate()
    new = AccessTokens(elsewhere, clock, issuer="us", audience="us", lifetime=timedelta(days=1)).issue(UUID(int=1), UUID(int=2)).text
    assert kid(new) != kid(old)
    assert tokens.verify(new).user == UUID(int=1)
    overlap = timedelta(minutes=settings.access_minutes + 1)
    clock.advance(overlap - timedelta(seconds=1))
    assert tokens.verify(old).user == UUID(int=1)
    clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        tokens.verify(old)
    assert tokens.verify(new).user == UUID(int=1)
    loads = ring.loads
    for number in range(10_000):
        assert ring.verifier(f"made-up-{number}") is None
    assert ring.loads == loads
