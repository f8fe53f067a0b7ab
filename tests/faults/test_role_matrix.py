"""Every role, every route, every method, against what the domains' policy tables say (ASVS V8.2.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server

from fortress import Fortress
from fortress.domain import Domain
from fortress.domains import standard
from fortress.domains.access.contract import EVERYBODY
from fortress.errors import BrokenRules
from fortress.http import get, per_minute
from fortress.http.router import parameters_of
from fortress.http.routes import Route
from fortress.security.permissions import Everything, Grant, Method, Permission, Role
from fortress.testing.callers import Callers
from fortress.testing.client import NOBODY, Caller
from fortress.testing.live import LiveClient

pytestmark = pytest.mark.faults

SOME_ID: Final = "01a2053f-e4f4-737b-a0aa-fca20d01e174"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What asks for nothing but a session and ends it: tried on its own.
ENDS_SESSIONS: Final = "sign_out"
# Open to everyone by its policy, and says itself that it needs the cookie of a session.
ASKS_FOR_A_COOKIE: Final = "read_csrf_token"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two workers, under limits that don't get into the way."""
    return serve(target=GENEROUS, directory=write_generous(tmp_path_factory.mktemp("project")), limit_store="memory")


def addresses(app: Fortress) -> dict[str, dict[str, Route]]:
    """Every address of every version, and what it does with which method."""
    found: dict[str, dict[str, Route]] = {}
    for route in app.assemble().routes:
        path = route.path
        for name, kind in parameters_of(path).items():
            path = path.replace(f"{{{name}:{kind}}}", SOME_ID)
        versions = range(route.policy.get("since", 1), route.policy.get("until", app.version) + 1) if route.versioned else (0,)
        for version in versions:
            methods = found.setdefault(f"/api/v{version}{path}" if version else path, {})
            methods[route.verb] = route
            if route.verb == "GET":
                methods["HEAD"] = route
    return found


def grants(role: Role) -> Iterator[str]:
    """The permissions' names that a role gives, worked out from its declaration alone."""
    if isinstance(role.grants, Everything):
        yield "*"
        return
    for grant in role.grants:
        yield grant.permission.name if isinstance(grant, Grant) else grant.name


def may(held: set[str], route: Route, method: Method) -> bool:
    """Whether the tables let somebody with these permissions, signed in so, pass."""
    allow = route.policy["allow"]
    if not isinstance(allow, Permission):
        return True
    return method in allow.by and ("*" in held or allow.name in held)


def right(status: int, route: Route | None, held: set[str], locked: set[str], method: Method) -> bool:
    """Whether the tables explain this answer to somebody with these permissions, and these after a second factor."""
    if route is None:
        return status == 405
    if not may(held, route, method):
        return status == (401 if method is Method.NONE or may(locked, route, method) else 403)
    if method is Method.SESSION and route.policy.get("factor", 1) > 1:
        return status == 401
    asks_itself = route.name == ASKS_FOR_A_COOKIE and status == 401
    return asks_itself or (status not in (401, 403, 405) and status < 500)


async def found_wrong(
    client: LiveClient, app: Fortress, caller: Caller, held: set[str], method: Method, locked: frozenset[str] = frozenset()
) -> tuple[int, list[tuple[str, str, int]]]:
    """How many answers there were, and those that the tables don't explain."""
    wrong, count = [], 0
    for address, routes in addresses(app).items():
        for verb in METHODS:
            route = routes.get(verb)
            if route is not None and route.name == ENDS_SESSIONS:
                continue
            count += 1
            status = (await client.call(verb, address, base="", as_=caller)).status
            if not right(status, route, held, set(locked), method):
                wrong.append((verb, address, status))
    return count, wrong


def roles() -> list[str]:
    """Every role that the shop has."""
    from shop.orders.manifest import orders

    return [role.name for domain in (*standard, orders) for role in domain.roles]


@pytest.mark.parametrize("name", roles())
async def test_a_role_opens_what_the_tables_say_and_nothing_else(app: Fortress, client: LiveClient, callers: Callers, name: str) -> None:
    declared = app.assemble().permissions.roles
    caller = await callers.person(roles=[name])
    # Nobody can lose the role of everybody.
    held = {*grants(declared[name]), *grants(declared[EVERYBODY])}
    count, wrong = await found_wrong(client, app, caller, held, Method.SESSION)
    assert count > 200
    assert not wrong
    assert (await client.post("/auth/logout", as_=caller)).status == 204
    async with asyncio.timeout(1):
        while (await client.get("/users/me", as_=caller)).status != 401:
            pass


def offered() -> list[tuple[str, str]]:
    """Every permission of the shop as a role made at run time can grant it: its furthest grant, and its name."""
    from shop.orders.manifest import orders

    return [(permission.any.name, permission.name) for domain in (*standard, orders) for permission in domain.permissions]


@pytest.mark.parametrize("second_factor", [False, True])
@pytest.mark.parametrize("half", [0, 1])
async def test_a_role_made_at_run_time_opens_what_it_grants_and_nothing_else(
    app: Fortress, client: LiveClient, callers: Callers, half: int, second_factor: bool
) -> None:
    chosen = offered()[half::2]
    name = f"half-{half}-{'guarded' if second_factor else 'open'}"
    role = {"name": name, "title": "Half of all", "grants": [grant for grant, _ in chosen], "second_factor": second_factor}
    assert (await client.post("/roles", role, as_=await callers.administrator())).status == 201
    caller = await callers.person(roles=[name])
    usual = set(grants(app.assemble().permissions.roles[EVERYBODY]))
    made = {permission for _, permission in chosen}
    held, locked = (usual, made) if second_factor else (usual | made, set[str]())
    count, wrong = await found_wrong(client, app, caller, held, Method.SESSION, frozenset(locked))
    assert count > 200
    assert not wrong


async def test_nobody_passes_where_somebody_is_asked_for(app: Fortress, client: LiveClient) -> None:
    assert not (await found_wrong(client, app, NOBODY, set(), Method.NONE))[1]
    assert (await client.post("/auth/logout")).status == 401


async def test_an_api_key_of_an_administrator_opens_its_scopes_and_nothing_that_needs_a_session(
    app: Fortress, client: LiveClient, callers: Callers
) -> None:
    admin = await callers.administrator()
    permissions = app.assemble().permissions.permissions.values()
    scopes = [permission.name for permission in permissions if Method.API_KEY in permission.by]
    for chosen in (scopes, ["orders:read"], ["audit:read"]):
        made = await client.post("/api-keys", {"name": "k", "scopes": chosen}, as_=admin)
        assert made.status == 201, made.body
        key = Caller("key", headers={"x-api-key": made.json()["key"]})
        assert not (await found_wrong(client, app, key, set(chosen), Method.API_KEY))[1]
        assert (await client.post("/auth/logout", as_=key)).status == 403


async def test_a_person_without_any_role_has_their_own_account_and_nothing_else(
    app: Fortress, client: LiveClient, callers: Callers
) -> None:
    caller = await callers.person(roles=[])
    held = set(grants(app.assemble().permissions.roles[EVERYBODY]))
    assert not (await found_wrong(client, app, caller, held, Method.SESSION))[1]


@pytest.mark.parametrize("missing", ["allow", "limit", "both"])
def test_a_new_route_without_a_policy_stops_the_start_and_is_named(missing: str) -> None:
    async def list_secrets() -> str:
        return "everything"

    policy: dict[str, Any] = {"allow": Permission("x:y", "Y"), "limit": per_minute(1)}
    route = get("/secrets", **{name: said for name, said in policy.items() if missing not in (name, "both")})(list_secrets)
    with pytest.raises(BrokenRules) as stopped:
        Fortress(domains=[*standard, Domain(name="new", routes=[route])]).assemble()
    assert "/secrets" in stopped.value.breaches[0].what
