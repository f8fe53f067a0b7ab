"""Credential stuffing: guesses are bounded, over all workers, and the owner can still sign in (ASVS V6.1.1, V6.3.1)."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
from tests.domains.identity.mailbox import last, token_in
from tests.faults.conftest import Serve
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Reply
from fortress.testing.live import LiveClient
from fortress.testing.processes import eventually, free_port

pytestmark = [pytest.mark.faults, pytest.mark.timeout(150)]

PROXY: Final = "127.77.0.1"
ADDRESSES: Final = 500
ACCOUNTS: Final = 10_000
GUESSES: Final = 10
PER_ADDRESS: Final = 100
# One more guess comes back in three minutes, and one in 36 seconds; a busy machine may take that long over a test.
COME_BACK: Final = 4
AT_ONCE: Final = 20
BOUNDS: Final = {"sign_in_failures": GUESSES, "sign_in_failures_per_address": PER_ADDRESS}
HOME: Final = "198.51.100.7"
ANOTHER: Final = "a drawbridge, drawn up"


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two workers behind a proxy; the routes' own limits are out of the way, so that what holds is the throttle alone."""
    project = write_generous(tmp_path_factory.mktemp("project"))
    return serve(target=GENEROUS, directory=project, trusted_proxies="127.0.0.0/8", **BOUNDS)


@pytest.fixture
async def proxied(server: Server) -> AsyncIterator[LiveClient]:
    async with LiveClient(server.port, address=PROXY) as opened:
        yield opened


@pytest.fixture
async def email(callers: Callers) -> str:
    return (await callers.person(f"person-{os.urandom(4).hex()}")).email


def sign_in(client: LiveClient, email: str, password: str, said: str) -> asyncio.Task[Reply]:
    headers = {"X-Forwarded-For": said, "User-Agent": "stuffing"}
    return asyncio.ensure_future(client.post("/auth/login", {"email": email, "password": password}, headers=headers))


async def guessed(client: LiveClient, attempts: list[tuple[str, str]]) -> Counter[int]:
    """What many wrong guesses come to, each an address of an account and where it seems to come from."""
    found: Counter[int] = Counter()
    for start in range(0, len(attempts), AT_ONCE):
        batch = [sign_in(client, email, "not the password", said) for email, said in attempts[start : start + AT_ONCE]]
        for reply in await asyncio.gather(*batch):
            found[reply.status] += 1
            if reply.status == 429:
                assert 1 <= int(reply.headers["retry-after"]) <= 3600
                assert reply.code == "limit.exceeded"
    return found


def everywhere(count: int) -> list[str]:
    return [f"203.0.{number // 250}.{number % 250 + 1}" for number in range(count)]


@pytest.mark.parametrize("known", [True, False])
async def test_one_account_from_five_hundred_addresses(proxied: LiveClient, email: str, known: bool) -> None:
    """An address without an account is answered in the same way (ASVS V6.3.8)."""
    aim = email if known else f"nobody-{os.urandom(4).hex()}@example.com"
    found = await guessed(proxied, [(aim, said) for said in everywhere(ADDRESSES)])
    assert set(found) == {401, 429}
    assert GUESSES <= found[401] <= GUESSES + COME_BACK


async def test_the_owner_signs_in_from_home_and_with_a_new_password_from_elsewhere(server: Server, proxied: LiveClient, email: str) -> None:
    assert (await sign_in(proxied, email, PASSWORD, HOME)).status == 200
    found = await guessed(proxied, [(email, said) for said in everywhere(60)])
    assert found[429] >= 60 - GUESSES - COME_BACK
    assert (await sign_in(proxied, email, PASSWORD, HOME)).status == 200, "home is known"
    assert (await sign_in(proxied, email, PASSWORD, "198.51.100.99")).status == 429, "this is not"
    assert (await proxied.post("/auth/password/forgot", {"email": email}, headers={"X-Forwarded-For": "198.51.100.99"})).status == 202
    token = await mailed(server, email, "Another password")
    headers = {"X-Forwarded-For": "198.51.100.99", "User-Agent": "stuffing"}
    reset = await proxied.post("/auth/password/reset", {"token": token, "new_password": ANOTHER}, headers=headers)
    assert reset.status == 204
    assert (await sign_in(proxied, email, ANOTHER, "198.51.100.99")).status == 200
    assert (await sign_in(proxied, email, ANOTHER, HOME)).status == 200
    assert (await sign_in(proxied, email, ANOTHER, "203.0.0.1")).status == 429


async def test_many_accounts_from_one_address(proxied: LiveClient, email: str) -> None:
    source = "203.0.113.77"
    assert (await sign_in(proxied, email, PASSWORD, source)).status == 200, "somebody lives there too"
    found = await guessed(proxied, [(f"aim-{number}-{os.urandom(4).hex()}@example.com", source) for number in range(ACCOUNTS)])
    assert set(found) == {401, 429}
    assert PER_ADDRESS <= found[401] <= PER_ADDRESS + COME_BACK
    assert (await sign_in(proxied, email, PASSWORD, source)).status == 200, "and still can"
    assert (await sign_in(proxied, email, "not the password", "203.0.113.78")).status == 401, "others have a budget of their own"


async def test_right_passwords_are_never_too_many(proxied: LiveClient, callers: Callers) -> None:
    people = [(await callers.person(f"many-{os.urandom(4).hex()}")).email for _ in range(8)]
    for _ in range(4):
        replies = await asyncio.gather(*(sign_in(proxied, person, PASSWORD, f"192.0.2.{n}") for n, person in enumerate(people)))
        assert {reply.status for reply in replies} == {200}


async def test_without_the_store_guesses_become_rarer(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory, address: Callable[[], str]
) -> None:
    project = write_generous(tmp_path_factory.mktemp("project"))
    away = {"limit_store": "redis", "redis_url": f"redis://127.0.0.1:{free_port()}/0", "limit_store_timeout": 0.2}
    server = serve(target=GENEROUS, directory=project, trusted_proxies="127.0.0.0/8", **BOUNDS, **away)
    async with LiveClient(server.port, address=PROXY) as client:
        found = await guessed(client, [("somebody@example.com", said) for said in everywhere(100)])
    assert set(found) == {401, 429}
    assert 1 <= found[401] <= GUESSES
    assert not server.faults()


async def mailed(server: Server, to: str, about: str) -> str:
    """The token of a mail, once the server has written it."""
    assert await asyncio.to_thread(eventually, lambda: last(server.state_dir, to=to, about=about) is not None)
    mail = last(server.state_dir, to=to, about=about)
    assert mail is not None
    return token_in(mail)
