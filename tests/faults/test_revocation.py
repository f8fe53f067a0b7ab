"""What is revoked is refused on every worker within a second, whatever is down (ASVS V7.4, V8.3.2)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.settings import Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from fortress.testing.processes import free_port

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

pytestmark = pytest.mark.faults

BOUND: Final = 1.0
PAUSE: Final = 0.01
NEW_PASSWORD: Final = "another one of a person"
# The connections that listen; nothing else of ours says LISTEN or, for its heartbeat, asks for a bare 1.
LISTENERS: Final = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND (query = 'SELECT 1' OR query ILIKE 'LISTEN%')
"""
STATES: Final = ("everything well", "bus connections killed", "bus away for good", "Redis down")


@pytest.fixture(scope="module")
def servers(serve: Callable[..., Server]) -> Callable[[str], Server]:
    """A server with two workers in that state; of each kind one.

    Without Redis guesses are bounded as they are for everyone: whoever signs in and is right is not kept out by what is left of it.
    """
    made: dict[bool, Server] = {}
    guesses = {name: Settings.model_fields[name].default for name in ("sign_in_failures", "sign_in_failures_per_address")}

    def give(state: str) -> Server:
        without_redis = state == "Redis down"
        if without_redis not in made:
            nowhere = f"redis://127.0.0.1:{free_port()}/0"
            made[without_redis] = serve(redis_url=nowhere, **guesses) if without_redis else serve()
        return made[without_redis]

    return give


class Scene:
    """Somebody who is signed in and known to every worker, and an administrator."""

    def __init__(self, server: Server, callers: Callers, client: LiveClient, owner: Connection, workers: dict[int, LiveClient]) -> None:
        self.server, self.callers, self.client, self.owner, self.workers = server, callers, client, owner, workers
        self.person = Caller("nobody yet")
        self.admin = Caller("nobody yet")

    async def begin(self) -> None:
        self.admin = await self.callers.administrator()
        self.person = await self.callers.person(f"person-{os.urandom(4).hex()}")
        for worker in self.workers.values():
            # So that each has a connection of every kind before connections become hard to get.
            await asyncio.gather(*(Callers(worker, ADMIN, ADMIN_PASSWORD).tokens(self.person.email, PASSWORD) for _ in range(3)))

    async def statuses(self, path: str, caller: Caller) -> list[int]:
        """What every worker answers."""
        return [(await worker.get(path, as_=caller)).status for worker in self.workers.values()]

    async def warm(self, path: str, caller: Caller) -> None:
        """Have every worker remember the caller."""
        for _ in range(2):
            assert set(await self.statuses(path, caller)) == {200}

    async def seconds_until(self, status: int, path: str, caller: Caller) -> float:
        """How long after now the last worker says so; each of them is asked by itself."""
        began = time.monotonic()

        async def ask(worker: LiveClient) -> float:
            while time.monotonic() - began < 5 * BOUND:
                if (await worker.get(path, as_=caller)).status == status:
                    return time.monotonic() - began
                await asyncio.sleep(PAUSE)
            return float("inf")

        return max(await asyncio.gather(*(ask(worker) for worker in self.workers.values())))

    async def kill_listeners(self) -> None:
        killed = await self.owner.fetch(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS l(pid)")
        assert len(killed) >= len(self.workers)

    async def listening(self) -> None:
        """Wait until every worker listens."""
        async with asyncio.timeout(10):
            while len(await self.owner.fetch(LISTENERS)) < len(self.workers):  # noqa: ASYNC110 - PostgreSQL tells nobody
                await asyncio.sleep(PAUSE)


@asynccontextmanager
async def nobody_connects(server: Server) -> AsyncIterator[None]:
    """Connections that are there work on, but who has lost theirs gets no other: nobody listens, and the database answers."""
    parts = urlsplit(server.database_url)
    elsewhere = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")), timeout=10)
    alter = f'ALTER DATABASE "{parts.path.strip("/")}" ALLOW_CONNECTIONS'
    await elsewhere.execute(f"{alter} false")
    try:
        yield
    finally:
        await elsewhere.execute(f"{alter} true")
        await elsewhere.close(timeout=10)


@pytest.fixture(params=STATES)
async def scene(request: pytest.FixtureRequest, servers: Callable[[str], Server], address: Callable[[], str]) -> AsyncIterator[Scene]:
    server = servers(request.param)
    owner = await asyncpg.connect(server.database_url, timeout=10)
    try:
        async with LiveClient(server.port, address=address, kept=False) as client, each_worker(server, address) as workers:
            people: Client = client
            scene = Scene(server, Callers(people, ADMIN, ADMIN_PASSWORD), client, owner, workers)
            await scene.begin()
            await scene.listening()
            async with nobody_connects(server) if request.param == "bus away for good" else nullcontext():
                if "bus" in request.param:
                    await scene.kill_listeners()
                yield scene
    finally:
        await owner.close(timeout=10)


async def log_out(scene: Scene) -> Caller:
    assert (await scene.client.post("/auth/logout", as_=scene.person)).status == 204
    return scene.person


async def disable(scene: Scene) -> Caller:
    answer = await scene.client.patch(f"/users/{scene.person.id}", {"status": "disabled"}, as_=scene.admin)
    assert answer.status == 200, answer.body
    return scene.person


async def change_password(scene: Scene) -> Caller:
    other = await scene.callers.sign_in("other", scene.person.email, PASSWORD)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = await scene.client.post("/users/me/password", body, as_=other)
    assert answer.status == 204, answer.body
    return scene.person


async def end_session(scene: Scene) -> Caller:
    other = await scene.callers.sign_in("other", scene.person.email, PASSWORD)
    listed = (await scene.client.get("/users/me/sessions", as_=other)).json()["items"]
    ended = [one["id"] for one in listed if not one["current"]]
    for id in ended:
        assert (await scene.client.delete(f"/users/me/sessions/{id}", as_=other)).status == 204
    return scene.person


Revoke = Callable[[Scene], Awaitable[Caller]]
REVOKED: Final[tuple[Revoke, ...]] = (log_out, disable, change_password, end_session)


@pytest.mark.parametrize("revoke", REVOKED, ids=lambda revoke: revoke.__name__)
async def test_a_revoked_session_is_refused_by_every_worker_within_a_second(
    scene: Scene, revoke: Callable[[Scene], Awaitable[Caller]]
) -> None:
    await scene.warm("/users/me", scene.person)
    caller = await revoke(scene)
    assert await scene.seconds_until(401, "/users/me", caller) < BOUND
    await asyncio.sleep(PAUSE)
    for path in ("/users/me", "/orders", "/users/me/sessions"):
        assert set(await scene.statuses(path, caller)) == {401}, "refused once, refused for good"


async def test_a_change_of_roles_holds_on_every_worker_within_a_second(scene: Scene) -> None:
    person, roles = scene.person, f"/users/{scene.person.id}/roles"
    await scene.warm("/orders", person)
    assert set(await scene.statuses("/users", person)) == {403}
    for held, path, status in (
        ([], "/orders", 403),
        (["clerk"], "/orders", 200),
        (["admin"], "/users", 200),
        (["customer"], "/users", 403),
    ):
        answer = await scene.client.put(roles, {"roles": held}, as_=scene.admin)
        assert answer.status == 200, answer.body
        assert await scene.seconds_until(status, path, person) < BOUND, held
        assert set(await scene.statuses(path, person)) == {status}


async def test_a_change_of_what_a_role_grants_holds_on_every_worker_within_a_second(scene: Scene) -> None:
    name = f"role-{os.urandom(4).hex()}"
    role = {"name": name, "title": "Made just now", "grants": ["users:list"]}
    assert (await scene.client.post("/roles", role, as_=scene.admin)).status == 201
    given = await scene.client.put(f"/users/{scene.person.id}/roles", {"roles": ["customer", name]}, as_=scene.admin)
    assert given.status == 200, given.body
    assert await scene.seconds_until(200, "/users", scene.person) < BOUND
    key = (await scene.client.post("/api-keys", {"name": "k", "scopes": ["users:list"]}, as_=scene.person)).json()["key"]
    service = Caller("key", headers={"x-api-key": key})
    for grants, status in (([], 403), (["users:list", "audit:read"], 200), (["audit:read"], 403)):
        if status == 403:
            await scene.warm("/users", scene.person)
            await scene.warm("/users", service)
        changed = await scene.client.put(f"/roles/{name}", {"title": "Changed", "grants": grants}, as_=scene.admin)
        assert changed.status == 200, changed.body
        for caller in (scene.person, service):
            assert await scene.seconds_until(status, "/users", caller) < BOUND, grants
            assert set(await scene.statuses("/users", caller)) == {status}
    taken = await scene.client.put(f"/users/{scene.person.id}/roles", {"roles": ["customer"]}, as_=scene.admin)
    assert taken.status == 200
    assert (await scene.client.delete(f"/roles/{name}", as_=scene.admin)).status == 204
    assert await scene.seconds_until(403, "/audit", scene.person) < BOUND


async def test_a_role_that_ends_is_not_held_by_any_worker_from_that_moment_on(scene: Scene) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    body = {"roles": ["customer", {"name": "admin", "expires_at": end.isoformat()}]}
    given = await scene.client.put(f"/users/{scene.person.id}/roles", body, as_=scene.admin)
    assert given.status == 200, given.body
    assert await scene.seconds_until(200, "/users", scene.person) < BOUND
    await scene.warm("/users", scene.person)
    # Nobody tells the workers anything: each knows by itself. To be asked all the time would only reach the route's limit.
    await asyncio.sleep((end - datetime.now(UTC)).total_seconds() - 0.2)
    await scene.seconds_until(403, "/users", scene.person)
    assert 0 <= (datetime.now(UTC) - end).total_seconds() < BOUND
    assert set(await scene.statuses("/users", scene.person)) == {403}
    assert set(await scene.statuses("/orders", scene.person)) == {200}


async def test_a_revoked_api_key_is_refused_by_every_worker_within_a_second(scene: Scene) -> None:
    made = (await scene.client.post("/api-keys", {"name": "k", "scopes": ["orders:read"]}, as_=scene.person)).json()
    key = Caller("key", headers={"x-api-key": made["key"]})
    await scene.warm("/orders", key)
    assert (await scene.client.delete(f"/api-keys/{made['id']}", as_=scene.person)).status == 204
    assert await scene.seconds_until(401, "/orders", key) < BOUND
    assert set(await scene.statuses("/orders", key)) == {401}


async def test_the_keys_of_a_disabled_person_are_refused_by_every_worker_within_a_second(scene: Scene) -> None:
    made: dict[str, Any] = (await scene.client.post("/api-keys", {"name": "k", "scopes": ["orders:read"]}, as_=scene.person)).json()
    key = Caller("key", headers={"x-api-key": made["key"]})
    await scene.warm("/orders", key)
    await disable(scene)
    assert await scene.seconds_until(401, "/orders", key) < BOUND
    enabled = await scene.client.patch(f"/users/{scene.person.id}", {"status": "active"}, as_=scene.admin)
    assert enabled.status == 200
    assert set(await scene.statuses("/users/me", scene.person)) == {401}, "a session that ended does not come back"


async def test_a_listener_that_dies_with_the_revocation_delays_it_by_nothing(
    servers: Callable[[str], Server], address: Callable[[], str]
) -> None:
    """The worst moment: the news is sent while nobody can hear it, and not told again."""
    server = servers("everything well")
    owner = await asyncpg.connect(server.database_url, timeout=10)
    try:
        async with LiveClient(server.port, address=address, kept=False) as client, each_worker(server, address) as workers:
            scene = Scene(server, Callers(client, ADMIN, ADMIN_PASSWORD), client, owner, workers)
            for _ in range(5):
                scene.person = await scene.callers.person(f"person-{os.urandom(4).hex()}")
                await scene.listening()
                await scene.warm("/users/me", scene.person)
                caller, _ = await asyncio.gather(log_out(scene), scene.kill_listeners())
                assert await scene.seconds_until(401, "/users/me", caller) < BOUND
    finally:
        await owner.close(timeout=10)
