"""Forged access tokens at every guarded address of a real server: always the same refusal, and nobody is asked about them (ASVS V9.1)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server
from tests.security.test_token_attacks import CLAIMS, HEADERS, SHAPES, SIGNATURES, Attack, Forge, b64, compact

from fortress import Fortress
from fortress.clock import FixedClock, SystemClock
from fortress.http.router import parameters_of
from fortress.security.keyfile import open_keyring
from fortress.security.permissions import Public
from fortress.security.tokens import AccessTokens
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Reply
from fortress.testing.live import LiveClient, Wire
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

SOME_ID: Final = "01a2053f-e4f4-737b-a0aa-fca20d01e174"
BATCH: Final = 32
LONGEST_HEADER: Final = 4000
# What differs from one refusal to the next.
OWN: Final = {"request_id", "timestamp", "instance"}
VARYING: Final = {b"x-request-id", b"content-length", b"ratelimit", b"ratelimit-policy"}


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two workers, under limits that don't get into the way."""
    return serve(target=GENEROUS, directory=write_generous(tmp_path_factory.mktemp("project")), limit_store="memory")


class LiveForge(Forge):
    """The worst that can happen: an attacker with our own signing key, a real person and their real session."""

    def __init__(self, server: Server, token: str) -> None:
        clock = FixedClock(SystemClock().now())
        ring = open_keyring(Settings(state_dir=server.state_dir), clock)
        tokens = AccessTokens(ring, clock, issuer=server.url, audience=server.url, lifetime=timedelta(minutes=10))
        super().__init__(ring, tokens, clock)
        said = tokens.verify(token)
        ours = {"iss": server.url, "aud": server.url, "sub": str(said.user), "sid": str(said.session)}
        self.claims |= ours
        self.good = token
        self.head, self.body, self.mark = token.split(".")


@pytest.fixture
async def forge(server: Server, callers: Callers) -> LiveForge:
    return LiveForge(server, (await callers.tokens(ADMIN, ADMIN_PASSWORD))["access_token"])


def guarded(app: Fortress) -> Iterator[tuple[str, str]]:
    """Method and address of everything that asks who one is, in every version."""
    for route in app.assemble().routes:
        if isinstance(route.policy["allow"], Public):
            continue
        path = route.path
        for name, kind in parameters_of(path).items():
            path = path.replace(f"{{{name}:{kind}}}", SOME_ID)
        for version in range(route.policy.get("since", 1), route.policy.get("until", app.version) + 1):
            yield route.verb, f"/api/v{version}{path}"


@contextmanager
def trap() -> Iterator[tuple[str, socket.socket]]:
    """An address of the attacker's, and the socket that would hear a call to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys", listener


def pointing_at(url: str) -> dict[str, Attack]:
    """Headers that ask the verifier to fetch a key."""
    return {
        f"{name} of ours": lambda f, name=name: f.with_header(**{name: url}) for name in ("jku", "x5u", "kid", "iss", "jwks_uri", "url")
    } | {"key and address": lambda f: f.with_header(jku=url, x5u=url, jwk={"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(32))})}


def can_be_carried(token: str) -> bool:
    """Whether it fits into one header line; what can't reach a verifier is tried on it directly, in tests/security."""
    return token.isprintable() and token.isascii() and len(token) < LONGEST_HEADER


def head(method: str, address: str, token: str) -> bytes:
    length = b"" if method == "GET" else b"Content-Length: 0\r\n"
    return f"{method} {address} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + length + f"Authorization: Bearer {token}\r\n\r\n".encode()


async def answers(wire: Wire, requests: list[bytes]) -> list[Reply]:
    """All answers, the requests sent in batches without waiting."""
    got: list[Reply] = []
    for start in range(0, len(requests), BATCH):
        batch = requests[start : start + BATCH]
        await wire.send(b"".join(batch))
        got += [await wire.answer() for _ in batch]
    return got


def words(reply: Reply) -> tuple[Any, ...]:
    """All of a refusal that may not differ."""
    body = {name: value for name, value in reply.json().items() if name not in OWN}
    return reply.status, compact(body), tuple(sorted(pair for pair in reply.raw_headers if pair[0] not in VARYING | {b"date"}))


@pytest.fixture
async def wire(server: Server, address: Callable[[], str]) -> AsyncIterator[Wire]:
    async with await Wire.open(server.port, address()) as opened:
        yield opened


async def test_the_forge_can_make_a_token_that_is_good(forge: LiveForge, wire: Wire) -> None:
    """Otherwise all of the forgeries might be refused for a reason of their own."""
    made = [forge.good, forge.with_header(), forge.with_claims(jti="another")]
    assert [reply.status for reply in await answers(wire, [head("GET", "/api/v1/users/me", token) for token in made])] == [200, 200, 200]


async def test_every_forgery_is_refused_in_the_same_words_at_every_guarded_address(
    forge: LiveForge, app: Fortress, server: Server, address: Callable[[], str]
) -> None:
    with trap() as (url, listener):
        attacks = {**SIGNATURES, **HEADERS, **CLAIMS, **SHAPES, **pointing_at(url)}
        tokens = {name: token for name, attack in attacks.items() if can_be_carried(token := attack(forge)) and token.strip() != forge.good}
        assert len(tokens) > 150
        seen: dict[tuple[Any, ...], str] = {}
        for method, path in guarded(app):
            async with await Wire.open(server.port, address()) as wire:
                requests = [head(method, path, token) for token in tokens.values()]
                for name, reply in zip(tokens, await answers(wire, requests), strict=True):
                    assert reply.status == 401, (method, path, name, reply.body)
                    assert forge.mark.encode() not in reply.body
                    seen.setdefault(words(reply), f"{name} at {method} {path}")
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert len(seen) == 1, seen
    logged = server.said()
    assert forge.mark not in logged
    assert "evil.example" not in logged


async def test_a_token_too_large_for_any_header_is_refused_before_it_is_read(server: Server, address: Callable[[], str]) -> None:
    for size in (5_000, 17_000, 1_000_000):
        async with await Wire.open(server.port, address()) as wire:
            try:
                await wire.send(head("GET", "/api/v1/users/me", "A" * size))
                assert (await wire.answer()).status in (400, 401, 431)
            except ConnectionError:
                assert size > 16_384


async def test_a_token_of_another_installation_is_refused(server: Server, client: LiveClient, forge: LiveForge, tmp_path: Any) -> None:
    """The same issuer, audience, person and session, but another ring."""
    clock = FixedClock(SystemClock().now())
    ring = open_keyring(Settings(state_dir=tmp_path), clock)
    theirs = AccessTokens(ring, clock, issuer=server.url, audience=server.url, lifetime=timedelta(minutes=10))
    said = AccessTokens(forge.ring, clock, issuer=server.url, audience=server.url, lifetime=timedelta(minutes=10)).verify(forge.good)
    token = theirs.issue(said.user, said.session).text
    reply = await client.get("/users/me", headers={"authorization": f"Bearer {token}"})
    assert reply.status == 401
