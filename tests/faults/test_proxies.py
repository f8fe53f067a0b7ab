"""Whose address counts when X-Forwarded-For says one thing and the socket another (ASVS V4.1.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server

from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults

PROXY = "127.77.0.1"
WRONG = {"email": "nobody@example.com", "password": "not the password"}
LOGINS = 30
# What X-Forwarded-For says to a server that trusts 127.77.0.0/24 and 10.0.0.0/8, and whom that means.
HEARD = {
    "203.0.113.9": "203.0.113.9",
    "1.2.3.4, 203.0.113.9": "203.0.113.9",
    "203.0.113.9, 10.0.0.5": "203.0.113.9",
    "1.2.3.4, 203.0.113.9, 10.0.0.5, 127.77.0.9": "203.0.113.9",
    "10.0.0.5": "10.0.0.5",
    "2001:db8::7": "2001:db8::7",
    "203.0.113.9, unknown": PROXY,
    "unknown": PROXY,
    "": PROXY,
    "203.0.113.9:4711": PROXY,
    "203.0.113.9, 10.0.0.5, <script>": PROXY,
    ", ".join(["1.2.3.4"] * 500 + ["203.0.113.9"]): "203.0.113.9",
}


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(trusted_proxies="127.77.0.0/24,10.0.0.0/8")


@pytest.fixture
async def proxied(server: Server) -> AsyncIterator[LiveClient]:
    """A client behind the proxy."""
    async with LiveClient(server.port, address=PROXY) as opened:
        yield opened


async def seen(server: Server, client: LiveClient, headers: dict[str, str]) -> str:
    """The address that the log has for a request with these headers."""
    reply = await client.get("/products", headers=headers)
    line = server.wait_for_line(event="request", request_id=reply.headers["x-request-id"])
    return str(line["address"])


@pytest.mark.parametrize("said", HEARD)
async def test_a_trusted_proxy_is_believed_as_far_as_trusted_hops_reach(said: str, server: Server, proxied: LiveClient) -> None:
    assert await seen(server, proxied, {"X-Forwarded-For": said}) == HEARD[said]


async def test_an_untrusted_peer_is_who_it_is(server: Server, address: Callable[[], str]) -> None:
    own = address()
    async with LiveClient(server.port, address=own) as stranger:
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"):
            value = "for=203.0.113.9" if name == "Forwarded" else "203.0.113.9"
            assert await seen(server, stranger, {name: value}) == own


async def test_only_one_header_is_believed_even_of_a_trusted_proxy(server: Server, proxied: LiveClient) -> None:
    for name in ("X-Real-IP", "Forwarded", "True-Client-IP"):
        assert await seen(server, proxied, {name: "for=203.0.113.9" if name == "Forwarded" else "203.0.113.9"}) == PROXY


async def test_headers_say_nothing_of_who_one_is_or_which_host_it_is(proxied: LiveClient) -> None:
    for name in ("X-User-ID", "X-Forwarded-User", "X-Remote-User", "Remote-User"):
        assert (await proxied.get("/users/me", headers={name: "admin@example.com"})).status == 401
    listed = await proxied.get("/products?limit=1", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
    assert listed.status == 200
    assert not [value for _, value in listed.raw_headers if b"evil.example" in value]


async def guesses(client: LiveClient, count: int, said: Callable[[int], str]) -> list[int]:
    return [(await client.post("/auth/login", WRONG, headers={"X-Forwarded-For": said(turn)})).status for turn in range(count)]


async def test_another_address_in_the_header_buys_a_stranger_no_more_guesses(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address()) as stranger:
        assert (await guesses(stranger, LOGINS + 15, lambda turn: f"198.51.100.{turn}")).count(429) >= 5


async def test_nor_somebody_behind_a_trusted_proxy(proxied: LiveClient) -> None:
    assert (await guesses(proxied, LOGINS + 15, lambda turn: f"198.51.100.{turn}, 203.0.113.50")).count(429) >= 5
    assert (await guesses(proxied, 1, lambda _: "203.0.113.51")) == [401], "its neighbour pays for nothing"


async def test_the_audit_log_has_the_right_address(server: Server, proxied: LiveClient, address: Callable[[], str]) -> None:
    own = address()
    person = {"password": "a long enough password", "age": 30}
    async with LiveClient(server.port, address=own) as stranger:
        direct = await stranger.post("/users", person | {"email": "direct@example.com"}, headers={"X-Forwarded-For": "198.51.100.1"})
    through = await proxied.post("/users", person | {"email": "through@example.com"}, headers={"X-Forwarded-For": "1.2.3.4, 203.0.113.77"})
    owner = await asyncpg.connect(server.database_url, timeout=10)
    try:
        for reply, expected in ((direct, own), (through, "203.0.113.77")):
            rows = await owner.fetch("SELECT address FROM audit_log WHERE request_id = $1", reply.headers["x-request-id"])
            assert [row["address"] for row in rows] == [expected]
    finally:
        await owner.close(timeout=10)
