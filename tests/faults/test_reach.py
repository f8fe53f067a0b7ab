"""Somebody else's things, at every address and method: not there, not changed, and not a word of them anywhere (ASVS V8.2.2, V8.4.1)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress import Fortress
from fortress.http.router import parameters_of
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Reply
from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults

MARKER: Final = "planted-marker-7f3a"
BASKET: Final = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
NOTHING: Final = "01a2053f-e4f4-737b-a0aa-fca20d01e174"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READING: Final = ("GET", "HEAD")
BODIES: Final[dict[str, Any]] = {
    "change_user": {"status": "disabled"},
    "replace_roles": {"roles": ["clerk"]},
}


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two workers, under limits that don't get into the way."""
    return serve(target=GENEROUS, directory=write_generous(tmp_path_factory.mktemp("project")), limit_store="memory")


class Estate:
    """Somebody, and one of each thing that is theirs; all of it marked."""

    def __init__(self, client: LiveClient, callers: Callers) -> None:
        self._client = client
        self._callers = callers
        self.owner = Caller("nobody yet")
        self.ids: dict[str, str] = {}
        self.secrets: list[str] = [MARKER]

    async def furnish(self) -> None:
        email = f"owner-{os.urandom(4).hex()}@example.com"
        person = {"email": email, "password": PASSWORD, "age": 30, "name": MARKER}
        assert (await self._client.post("/users", person)).status == 201
        headers = {"user-agent": MARKER}
        login = {"email": email, "password": PASSWORD}
        pairs = [(await self._client.post("/auth/login", login, headers=headers)).json() for _ in range(2)]
        self.owner = Caller("owner", headers={"authorization": f"Bearer {pairs[0]['access_token']}"})
        me = (await self._client.get("/users/me", as_=self.owner)).json()
        order = (await self._client.post("/orders", BASKET, as_=self.owner)).json()
        key = (await self._client.post("/api-keys", {"name": MARKER, "scopes": ["orders:read"]}, as_=self.owner)).json()
        sessions = (await self._client.get("/users/me/sessions", as_=self.owner)).json()["items"]
        other = next(one["id"] for one in sessions if not one["current"])
        self.ids = {"user_id": me["id"], "order_id": order["id"], "key_id": key["id"], "session_id": other}
        self.secrets += [email, key["key"], *(pair[name] for pair in pairs for name in ("access_token", "refresh_token"))]

    async def look(self) -> dict[str, Any]:
        """All that is theirs, as they see it."""
        paths = ("/users/me", "/orders", "/api-keys", "/users/me/sessions", *(f"/orders/{self.ids['order_id']}",))
        seen = {path: (await self._client.get(path, as_=self.owner)).json() for path in paths}
        for session in seen["/users/me/sessions"]["items"]:
            del session["used_at"]
        return seen


@pytest.fixture
async def estate(client: LiveClient, callers: Callers) -> Estate:
    estate = Estate(client, callers)
    await estate.furnish()
    return estate


def with_ids(app: Fortress, ids: dict[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Name, address and body of every address of every version that names one thing; all methods are the caller's to try."""
    for route in app.assemble().routes:
        path = route.path
        named = [(name, kind) for name, kind in parameters_of(path).items() if name in ids]
        for name, kind in named:
            path = path.replace(f"{{{name}:{kind}}}", ids[name])
        path = path.replace("{service_id:uuid}", NOTHING)
        if named:
            for version in range(route.policy.get("since", 1), route.policy.get("until", app.version) + 1):
                yield route.verb, f"/api/v{version}{path}", BODIES.get(route.name)


async def everything(
    client: LiveClient, app: Fortress, ids: dict[str, str], caller: Caller, methods: Sequence[str] = METHODS
) -> list[tuple[str, Reply]]:
    """Every answer to a caller who tries these methods at every address of these things, their own methods last."""
    own = list(with_ids(app, ids))
    # Of one version: the limit of methods that a path does not have is nobody's to raise.
    first = dict.fromkeys(address for _, address, _ in own if address.startswith("/api/v1/"))
    bare = [(method, address, None) for address in first for method in methods]
    return [
        (f"{method} {address} {body}", await client.call(method, address, json=body, base="", as_=caller))
        for method, address, body in (*bare, *own)
    ]


def assert_closed(got: list[tuple[str, Reply]], estate: Estate) -> None:
    for where, reply in got:
        allowed = (404, 403, 405, 415) if not where.startswith("OPTIONS") else (204,)
        assert reply.status in allowed, (where, reply.status, reply.body)
        for secret in estate.secrets:
            assert secret.encode() not in reply.body, where
            assert all(secret.encode() not in value for _, value in reply.raw_headers), where


@pytest.fixture
async def workers(server: Server, address: Callable[[], str]) -> AsyncIterator[list[LiveClient]]:
    async with each_worker(server, address) as met:
        yield list(met.values())


async def test_nothing_of_somebody_else_is_there_at_any_address_cold_or_warm(
    app: Fortress, server: Server, estate: Estate, callers: Callers, workers: list[LiveClient]
) -> None:
    stranger = await callers.person()
    before = await estate.look()
    for worker in workers:
        assert_closed(await everything(worker, app, estate.ids, stranger), estate)
        # Now with everything just read by those who may.
        for caller in (estate.owner, await callers.administrator()):
            for path in (f"/orders/{estate.ids['order_id']}", f"/users/{estate.ids['user_id']}"):
                assert (await worker.get(path, as_=caller)).status == 200
        assert_closed(await everything(worker, app, estate.ids, stranger, READING), estate)
    assert await estate.look() == before
    logged = server.said()
    assert not [secret for secret in estate.secrets if secret in logged]


async def test_what_is_not_mine_looks_like_what_is_not_there(app: Fortress, estate: Estate, callers: Callers, client: LiveClient) -> None:
    stranger = await callers.person()
    absent = dict.fromkeys(estate.ids, NOTHING)
    own = {"instance", "request_id", "timestamp"}

    def words(reply: Reply) -> Any:
        return reply.status, {k: v for k, v in reply.json().items() if k not in own} if reply.body else None

    theirs, nothing = list(with_ids(app, estate.ids)), list(with_ids(app, absent))
    for (method, address, body), (_, nowhere, _) in zip(theirs, nothing, strict=True):
        hidden = await client.call(method, address, json=body, base="", as_=stranger)
        missing = await client.call(method, nowhere, json=body, base="", as_=stranger)
        assert words(hidden) == words(missing), (method, address)


async def test_no_list_shows_what_is_somebody_elses(estate: Estate, callers: Callers, client: LiveClient) -> None:
    stranger = await callers.person()
    for path in ("/orders", "/api-keys", "/users/me/sessions", "/users", "/audit", "/users/me"):
        for query in ("", "?limit=100"):
            reply = await client.get(path + query, as_=stranger)
            assert reply.status in (200, 403, 422), path
            assert not [value for value in (*estate.secrets, *estate.ids.values()) if value.encode() in reply.body], path


async def test_somebody_elses_cursor_opens_no_page(estate: Estate, callers: Callers, client: LiveClient) -> None:
    await client.post("/orders", BASKET, as_=estate.owner)
    cursor = (await client.get("/orders?limit=1", as_=estate.owner)).json()["next"]
    assert cursor
    assert (await client.get(f"/orders?limit=1&cursor={cursor}", as_=estate.owner)).status == 200
    stranger = await callers.person()
    assert (await client.get(f"/orders?limit=1&cursor={cursor}", as_=stranger)).status == 422
    assert (await client.get(f"/api-keys?limit=1&cursor={cursor}", as_=estate.owner)).status == 422


async def test_an_api_key_reaches_what_its_owner_reaches_within_its_scopes_and_no_more(
    estate: Estate, callers: Callers, client: LiveClient
) -> None:
    made = await client.post("/api-keys", {"name": "k", "scopes": ["orders:read"]}, as_=await callers.person())
    key = Caller("key", headers={"x-api-key": made.json()["key"]})
    assert (await client.get(f"/orders/{estate.ids['order_id']}", as_=key)).status == 404
    assert (await client.get("/orders", as_=key)).json()["items"] == []
    for method, path in (("POST", "/orders"), ("GET", "/users/me"), ("GET", "/api-keys"), ("POST", "/auth/logout")):
        assert (await client.call(method, path, as_=key)).status == 403, path


async def test_answers_to_two_people_at_once_are_never_mixed_up(estate: Estate, callers: Callers, workers: list[LiveClient]) -> None:
    """Both ask over the same connections' workers at the same time, again and again."""
    other = await callers.person()

    async def ask(worker: LiveClient, caller: Caller) -> set[str]:
        return {(await worker.get("/users/me", as_=caller)).json()["id"] for _ in range(25)}

    people = [estate.owner, other]
    found = await asyncio.gather(*(ask(worker, person) for worker in workers for person in people * 2))
    expected = [{estate.ids["user_id"]}, {other.id}] * 2 * len(workers)
    assert found == expected
