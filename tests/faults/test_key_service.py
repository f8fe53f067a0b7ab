"""Data keys under a key service: brought there while servers run, and what happens while the service is away (ASVS V13.1.3, V13.3.3)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.harness.serving import Server
from tests.security.transit import TOKEN, Vault, running_vault

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with running_vault() as vault:
        yield vault


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], vault: Vault) -> Server:
    """Its data is wrapped by the ring, as the template's is; what is new is wrapped by Vault."""
    return serve(wrapping_key=f"vault:{vault.url}/transit/fortress", vault_token=TOKEN, limit_store="memory", request_timeout=20)


async def keys(server: Server, *words: str) -> dict[str, Any]:
    ended = await asyncio.to_thread(server.run, "keys", *words, "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


async def test_data_moves_from_the_ring_to_vault_while_the_server_runs(
    server: Server, vault: Vault, callers: Callers, client: LiveClient, owner: Any
) -> None:
    ann = await callers.person("ann")
    assert await owner.fetchval("SELECT key_id FROM data_keys WHERE subject = $1::text::uuid", ann.id) == "vault:transit/fortress:v1"
    before = await keys(server, "status")
    assert before["behind"] > 0
    assert (await keys(server, "rotate", "wrapping"))["rewrapped"] == before["behind"]
    vault.keys["transit/fortress"].rotate()
    moved = await keys(server, "rotate", "wrapping")
    assert moved["key"] == "vault:transit/fortress:v2"
    vault.keys["transit/fortress"].oldest = 2
    assert await owner.fetchval("SELECT count(*) FROM data_keys WHERE wrapped IS NOT NULL AND key_id <> $1", moved["key"]) == 0
    server.stop()
    server.start()
    assert (await client.get("/users/me", as_=ann)).json()["email"] == ann.email
    assert (await client.post("/auth/login", {"email": ann.email, "password": PASSWORD})).status == 200


async def test_while_vault_is_away_nothing_is_a_fault_and_the_rest_is_served(
    server: Server, vault: Vault, callers: Callers, client: LiveClient
) -> None:
    ben = await callers.person("ben")
    vault.status = 503
    try:
        began = time.monotonic()
        refused = await client.post("/users", {"email": "cleo@example.com", "password": PASSWORD, "age": 30})
        assert (refused.status, refused.code) == (503, "service.unavailable")
        assert time.monotonic() - began < 10
        assert b"503" not in refused.body.replace(b'"status":503', b"")
        assert (await client.call("GET", "/health/ready", base="")).status == 200
        assert (await client.get("/products")).status == 200
    finally:
        vault.status = None
    assert (await client.post("/users", {"email": "cleo@example.com", "password": PASSWORD, "age": 30})).status == 201
    assert (await client.get("/users/me", as_=ben)).status == 200
    assert server.faults() == []


async def test_a_silent_vault_holds_a_request_no_longer_than_its_bound(server: Server, vault: Vault, client: LiveClient) -> None:
    vault.silent.clear()
    try:
        began = time.monotonic()
        refused = await client.post("/users", {"email": "dora@example.com", "password": PASSWORD, "age": 30})
        assert refused.status == 503
        assert time.monotonic() - began < 15, "two tries of two seconds each, and a password hash"
    finally:
        vault.silent.set()


def test_a_server_whose_vault_is_away_does_not_start_and_says_why(server: Server, vault: Vault, tmp_path: Path) -> None:
    vault.status = 403
    try:
        ended = server.run("keys", "status")
    finally:
        vault.status = None
    assert ended.returncode == 1
    assert "the key service vault can't be used: status 403" in ended.stderr
    assert TOKEN not in ended.stderr + ended.stdout


def test_the_token_is_nowhere_in_what_the_server_said(server: Server) -> None:
    assert TOKEN not in server.said()
