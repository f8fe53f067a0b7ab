"""Keys that end are refused on every worker within a second, and bound ones from elsewhere at once (ASVS V7.4, V8.3.2, V15.3.4)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker
from tests.faults.test_revocation import BOUND, Scene, scene, servers

from fortress.testing.callers import Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

__all__ = ["scene", "servers"]

pytestmark = pytest.mark.faults

PROXY: Final = "127.78.0.1"
NETWORK: Final = "203.0.113.0/24"
INSIDE: Final = "203.0.113.9"
MISUSES: Final = 20


class Keys:
    """What the tests do with keys, through the API."""

    def __init__(self, scene: Scene, of: str, by: Caller) -> None:
        self.scene, self.of, self.by = scene, of, by

    async def make(self, *scopes: str, **more: Any) -> dict[str, Any]:
        made = await self.scene.client.post(self.of, {"name": "k", "scopes": list(scopes), **more}, as_=self.by)
        assert made.status == 201, made.body
        body: dict[str, Any] = made.json()
        return body

    async def rotate(self, key: dict[str, Any], hours: int) -> dict[str, Any]:
        rotated = await self.scene.client.post(f"{self.of}/{key['id']}/rotate", {"overlap_hours": hours}, as_=self.by)
        assert rotated.status == 200, rotated.body
        body: dict[str, Any] = rotated.json()
        return body


def program(key: dict[str, Any]) -> Caller:
    return Caller("a program", headers={"x-api-key": key["key"]})


class Ending:
    """Keys that work, what ends them, and what they are answered from then on."""

    def __init__(self, path: str, callers: list[Caller], end: Callable[[], Awaitable[Any]], status: int = 401) -> None:
        self.path, self.callers, self.end, self.status = path, callers, end, status


async def revoked_while_rotating(scene: Scene) -> Ending:
    keys = Keys(scene, "/api-keys", scene.person)
    old = await keys.make("account:read")
    new = await keys.rotate(old, 24)
    return Ending("/users/me", [program(old), program(new)], lambda: scene.client.delete(f"/api-keys/{old['id']}", as_=scene.person))


async def rotated_out(scene: Scene) -> Ending:
    keys = Keys(scene, "/api-keys", scene.person)
    old = await keys.make("account:read")
    return Ending("/users/me", [program(old)], lambda: keys.rotate(old, 0))


async def revoked_by_an_administrator(scene: Scene) -> Ending:
    key = await Keys(scene, "/api-keys", scene.person).make("account:read")
    address = f"/users/{scene.person.id}/api-keys/{key['id']}"
    return Ending("/users/me", [program(key)], lambda: scene.client.delete(address, as_=scene.admin))


async def moved_to_other_networks(scene: Scene) -> Ending:
    key = await Keys(scene, "/api-keys", scene.person).make("account:read")
    address = f"/api-keys/{key['id']}"
    return Ending("/users/me", [program(key)], lambda: scene.client.patch(address, {"networks": [NETWORK]}, as_=scene.person), status=403)


async def service(scene: Scene) -> tuple[str, Keys]:
    wanted = {"name": f"service-{os.urandom(4).hex()}", "roles": ["clerk"]}
    made = await scene.client.post("/service-accounts", wanted, as_=scene.admin)
    assert made.status == 201, made.body
    address = f"/service-accounts/{made.json()['id']}"
    return address, Keys(scene, f"{address}/keys", scene.admin)


async def of_a_disabled_service(scene: Scene) -> Ending:
    address, keys = await service(scene)
    callers = [program(await keys.make("orders:read")) for _ in range(2)]
    return Ending("/orders", callers, lambda: scene.client.patch(address, {"disabled": True}, as_=scene.admin))


async def of_a_removed_service(scene: Scene) -> Ending:
    address, keys = await service(scene)
    callers = [program(await keys.make("orders:read"))]
    return Ending("/orders", callers, lambda: scene.client.delete(address, as_=scene.admin))


ENDINGS: Final = (
    revoked_while_rotating,
    rotated_out,
    revoked_by_an_administrator,
    moved_to_other_networks,
    of_a_disabled_service,
    of_a_removed_service,
)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
async def test_a_key_that_ends_is_refused_by_every_worker_within_a_second(
    scene: Scene, ending: Callable[[Scene], Awaitable[Ending]]
) -> None:
    prepared = await ending(scene)
    for caller in prepared.callers:
        await scene.warm(prepared.path, caller)
    answer = await prepared.end()
    assert isinstance(answer, dict) or answer.status < 300, answer.body
    for caller in prepared.callers:
        assert await scene.seconds_until(prepared.status, prepared.path, caller) < BOUND
        assert set(await scene.statuses(prepared.path, caller)) == {prepared.status}, "refused once, refused for good"


@pytest.fixture(scope="module")
def proxied(serve: Serve) -> Server:
    """A server behind a proxy whose word counts."""
    return serve(trusted_proxies="127.78.0.0/24")


async def bound_key(server: Server, address: Callable[[], str]) -> dict[str, Any]:
    async with LiveClient(server.port, address=address(), kept=False) as client:
        person = await Callers(client, ADMIN, ADMIN_PASSWORD).person(f"person-{os.urandom(4).hex()}")
        made = await client.post("/api-keys", {"name": "k", "scopes": ["account:read"], "networks": [NETWORK]}, as_=person)
        body: dict[str, Any] = made.json()
        return body


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (INSIDE, 200),
        (f"198.51.100.1, {INSIDE}", 200),
        (f"{INSIDE}, 127.78.0.9", 200),
        (f"{INSIDE}, 198.51.100.1", 403),
        ("198.51.100.1", 403),
        (f"{INSIDE}, unknown", 403),
        (f"{INSIDE}:4711", 403),
        ("", 403),
        (f"::ffff:{INSIDE}", 200),
    ],
)
async def test_a_trusted_proxy_says_where_a_bound_key_comes_from(
    proxied: Server, address: Callable[[], str], said: str, status: int
) -> None:
    key = await bound_key(proxied, address)
    async with LiveClient(proxied.port, address=PROXY) as client:
        for _ in range(2):
            assert (await client.get("/users/me", headers={"x-forwarded-for": said}, as_=program(key))).status == status


async def test_nobody_else_says_it(proxied: Server, address: Callable[[], str]) -> None:
    key = await bound_key(proxied, address)
    async with each_worker(proxied, address) as workers:
        for client in workers.values():
            for name in ("x-forwarded-for", "x-real-ip", "forwarded", "x-client-ip", "cf-connecting-ip"):
                value = f"for={INSIDE}" if name == "forwarded" else INSIDE
                refused = await client.get("/users/me", headers={name: value}, as_=program(key))
                assert (refused.status, refused.code) == (403, "auth.address_not_allowed")


async def test_misuse_fills_no_log(proxied: Server, address: Callable[[], str]) -> None:
    """One row for each worker and hour, with the address that it came from; and the key stands nowhere."""
    key = await bound_key(proxied, address)
    own = address()
    async with LiveClient(proxied.port, address=own, kept=False) as thief:
        for _ in range(MISUSES):
            assert (await thief.get("/users/me", as_=program(key))).status == 403
    owner = await asyncpg.connect(proxied.database_url, timeout=10)
    try:
        rows = await refusals(owner, key["id"])
        assert {row["address"] for row in rows} == {own}
        assert 1 <= len(rows) <= len(proxied.workers)
    finally:
        await owner.close(timeout=10)
    secret = key["key"].rpartition("_")[2]
    assert not [line for line in proxied.log_lines() if secret in str(line)]


async def refusals(owner: Connection, key: str) -> list[asyncpg.Record]:
    """What the log has of it, once it is written: that happens beside the requests."""
    async with asyncio.timeout(10):
        while True:
            rows = await owner.fetch("SELECT address FROM audit_log WHERE action = 'api_keys.address_refused' AND target = $1", key)
            if rows:
                return list(rows)
            await asyncio.sleep(0.05)
