"""Service accounts as those who look after them meet them, and as their programs do (ASVS V8.2.1, V8.3.1, V8.4.2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fortress import Fortress
from fortress.clock import SystemClock
from fortress.data import Database
from fortress.security import SYSTEM
from fortress.settings import Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client, Reply

KEEPER = {
    "name": "keeper",
    "title": "Looks after services",
    "grants": ["service-accounts:write", "service-accounts:read", "users:list", "roles:assign"],
}
READER = {"name": "reader", "title": "Lists people", "grants": ["users:list"]}
AUDITOR = {"name": "auditor", "title": "Reads the log", "grants": ["audit:read"]}
NOWHERE = "/service-accounts/01a2053f-e4f4-737b-a0aa-fca20d01e174"


@pytest.fixture
def access_minutes() -> int:
    """How long a token lives."""
    return 10


@pytest.fixture
def settings(settings: Settings, access_minutes: int) -> Settings:
    return settings.model_copy(update={"access_minutes": access_minutes})


@pytest.fixture
async def admin(client: Client, callers: Callers) -> Caller:
    """The administrator, with the roles of these tests made."""
    found = await callers.administrator()
    for role in (KEEPER, READER, AUDITOR):
        assert (await client.post("/roles", role, as_=found)).status == 201
    return found


async def service(client: Client, by: Caller, name: str = "nightly", *roles: str) -> dict[str, Any]:
    made = await client.post("/service-accounts", {"name": name, "roles": list(roles)}, as_=by)
    assert made.status == 201, made.body
    body: dict[str, Any] = made.json()
    return body


async def key_of(client: Client, by: Caller, service_id: str, *scopes: str, **more: Any) -> dict[str, Any]:
    made = await client.post(f"/service-accounts/{service_id}/keys", {"name": "one", "scopes": list(scopes), **more}, as_=by)
    assert made.status == 201, made.body
    body: dict[str, Any] = made.json()
    return body


def with_key(key: dict[str, Any]) -> Caller:
    return Caller("a program", headers={"x-api-key": key["key"]})


async def actors(running: Fortress, action: str) -> list[tuple[str, str]]:
    """Who did this, by the audit log: ids and kinds."""
    assert running.runtime is not None
    database = running.runtime.container.get(Database)
    rows = await database.reader(SYSTEM).rows("SELECT actor_id, actor_kind FROM audit_log WHERE action = $1 ORDER BY tx, seq", (action,))
    return [(str(row["actor_id"]), row["actor_kind"]) for row in rows]


async def test_a_service_account_is_made_listed_read_renamed_and_removed(client: Client, admin: Caller) -> None:
    made = await client.post("/service-accounts", {"name": "nightly", "roles": ["reader"]}, as_=admin)
    body = made.json()
    assert made.headers["location"] == f"/api/v1/service-accounts/{body['id']}"
    assert (body["name"], body["disabled"], body["roles"], body["made_by"]) == ("nightly", False, ["reader"], admin.id)
    address = f"/service-accounts/{body['id']}"
    assert (await client.get(address, as_=admin)).json() == body
    assert [one["id"] for one in (await client.get("/service-accounts", as_=admin)).json()["items"]] == [body["id"]]
    assert (await client.patch(address, {"name": "weekly"}, as_=admin)).json()["name"] == "weekly"
    assert (await client.delete(address, as_=admin)).status == 204
    assert (await client.get(address, as_=admin)).code == "services.not_found"
    assert (await client.delete(address, as_=admin)).status == 404


async def test_its_key_acts_as_itself_and_not_as_its_maker(client: Client, admin: Caller, running: Fortress) -> None:
    made = await service(client, admin, "nightly", "reader")
    program = with_key(await key_of(client, admin, made["id"], "users:list"))
    assert (await client.get("/users", as_=program)).status == 200
    why = await client.get("/users/me", as_=program)
    assert why.status == 403, "it has no account to read"
    assert (await client.get("/orders", as_=program)).status == 403
    assert await actors(running, "services.made") == [(admin.id, "session")]


async def test_what_a_service_does_is_logged_with_its_own_name(client: Client, callers: Callers, admin: Caller, running: Fortress) -> None:
    clerk = await service(client, admin, "till", "clerk")
    till = with_key(await key_of(client, admin, clerk["id"], "orders:cancel"))
    person = await callers.person("ann")
    order = await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}, as_=person)
    assert order.status == 201, order.body
    cancelled = await client.post(f"/orders/{order.json()['id']}/cancellation", as_=till)
    assert cancelled.status < 300, cancelled.body
    assert await actors(running, "orders.cancelled") == [(clerk["id"], "api_key")]


@pytest.mark.parametrize("access_minutes", [60])
async def test_making_asks_for_a_fresh_proof(client: Client, admin: Caller, monkeypatch: pytest.MonkeyPatch, access_minutes: int) -> None:
    """ASVS V7.5.3; disabling and removing don't."""
    made = await service(client, admin, "nightly", "reader")
    key = await key_of(client, admin, made["id"], "users:list")
    real = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: real(self) + timedelta(minutes=16))
    address = f"/service-accounts/{made['id']}"
    asked = [
        await client.post("/service-accounts", {"name": "x"}, as_=admin),
        await client.post(f"{address}/keys", {"name": "x", "scopes": ["users:list"]}, as_=admin),
        await client.post(f"{address}/keys/{key['id']}/rotate", {}, as_=admin),
        await client.patch(f"{address}/keys/{key['id']}", {"networks": []}, as_=admin),
    ]
    assert access_minutes > 16, "or the token itself would be over"
    assert [one.code for one in asked] == ["auth.reauthentication_required"] * 4
    assert (await client.patch(address, {"disabled": True}, as_=admin)).status == 200
    assert (await client.delete(address, as_=admin)).status == 204


@pytest.mark.parametrize("roles", [["admin"], ["reader", "admin"]])
async def test_it_never_administers(client: Client, admin: Caller, roles: list[str]) -> None:
    refused = await client.post("/service-accounts", {"name": "root", "roles": roles}, as_=admin)
    assert refused.status == 422
    assert [(one["field"], one["code"]) for one in refused.json()["errors"]] == [(f"/roles/{len(roles) - 1}", "not_for_services")]
    made = await service(client, admin, "root")
    later = await client.put(f"/users/{made['id']}/roles", {"roles": roles}, as_=admin)
    assert (later.status, later.json()["errors"][0]["code"]) == (422, "not_for_services")


async def test_it_has_no_role_that_it_was_not_given(client: Client, admin: Caller) -> None:
    made = await service(client, admin)
    refused = await client.post(f"/service-accounts/{made['id']}/keys", {"name": "one", "scopes": ["account:read"]}, as_=admin)
    assert (refused.status, refused.json()["errors"][0]["code"]) == (422, "scope_not_held")


async def test_nobody_makes_a_service_that_reaches_further_than_they_do(client: Client, callers: Callers, admin: Caller) -> None:
    """ASVS V8.3.1: neither by its roles, nor by a key of one that holds more, nor by rotating one."""
    keeper = await callers.person("kim", roles=["member", "keeper"])
    refused = await client.post("/service-accounts", {"name": "spy", "roles": ["auditor"]}, as_=keeper)
    assert (refused.status, refused.code) == (403, "access.not_held")
    assert (await client.get("/service-accounts", as_=keeper)).json()["items"] == [], "nothing of it stayed"
    strong = await service(client, admin, "strong", "auditor", "reader")
    keys = f"/service-accounts/{strong['id']}/keys"
    beyond = await client.post(keys, {"name": "mine", "scopes": ["audit:read"]}, as_=keeper)
    assert (beyond.status, beyond.json()["errors"][0]["field"]) == (422, "/scopes/0")
    key = await key_of(client, admin, strong["id"], "audit:read")
    rotated = await client.post(f"{keys}/{key['id']}/rotate", {}, as_=keeper)
    assert (rotated.status, rotated.code) == (403, "api_keys.reaches_further")
    assert (await client.get("/audit", as_=with_key(key))).status == 200, "the key is what it was"
    weak = await key_of(client, keeper, strong["id"], "users:list")
    assert (await client.post(f"{keys}/{weak['id']}/rotate", {}, as_=keeper)).status == 200


async def test_it_outlives_its_maker(client: Client, callers: Callers, admin: Caller) -> None:
    keeper = await callers.person("kim", roles=["member", "keeper"])
    await client.put(f"/users/{keeper.id}/roles", {"roles": ["member", "keeper", "reader"]}, as_=admin)
    keeper = await callers.sign_in("kim", "kim@example.com", PASSWORD)
    made = await service(client, keeper, "nightly", "reader")
    program = with_key(await key_of(client, keeper, made["id"], "users:list"))
    assert (await client.delete("/users/me", {"password": PASSWORD}, as_=keeper)).status == 204
    assert (await client.get("/users", as_=program)).status == 200


async def test_a_disabled_one_is_refused_and_an_enabled_one_goes_on(client: Client, admin: Caller) -> None:
    made = await service(client, admin, "nightly", "reader")
    program = with_key(await key_of(client, admin, made["id"], "users:list"))
    for disabled, status in ((True, 401), (False, 200)):
        changed = await client.patch(f"/service-accounts/{made['id']}", {"disabled": disabled}, as_=admin)
        assert changed.json()["disabled"] is disabled
        assert (await client.get("/users", as_=program)).status == status


async def test_it_loses_with_a_role_what_its_key_could_do(client: Client, admin: Caller) -> None:
    made = await service(client, admin, "nightly", "reader")
    program = with_key(await key_of(client, admin, made["id"], "users:list"))
    assert (await client.put(f"/users/{made['id']}/roles", {"roles": []}, as_=admin)).status == 200
    assert (await client.get("/users", as_=program)).status == 403


async def test_removing_it_ends_its_keys(client: Client, admin: Caller) -> None:
    made = await service(client, admin, "nightly", "reader")
    program = with_key(await key_of(client, admin, made["id"], "users:list"))
    assert (await client.delete(f"/service-accounts/{made['id']}", as_=admin)).status == 204
    assert (await client.get("/users", as_=program)).status == 401


async def test_it_can_not_sign_in(client: Client, admin: Caller) -> None:
    made = await service(client, admin, "robot@example.com", "reader")
    for name in ("robot@example.com", made["id"]):
        assert (await client.post("/auth/login", {"email": name, "password": PASSWORD})).status == 401


async def test_its_keys_are_listed_changed_rotated_and_revoked(client: Client, admin: Caller) -> None:
    made = await service(client, admin, "nightly", "reader")
    key = await key_of(client, admin, made["id"], "users:list", networks=["203.0.113.0/24"])
    keys = f"/service-accounts/{made['id']}/keys"
    listed = (await client.get(keys, as_=admin)).json()["items"]
    assert [(one["id"], one["networks"], one["status"]) for one in listed] == [(key["id"], ["203.0.113.0/24"], "active")]
    assert "key" not in listed[0]
    assert (await client.get("/users", as_=with_key(key))).code == "auth.address_not_allowed"
    assert (await client.patch(f"{keys}/{key['id']}", {"networks": []}, as_=admin)).json()["networks"] == []
    rotated = (await client.post(f"{keys}/{key['id']}/rotate", {"overlap_hours": 0}, as_=admin)).json()
    assert (await client.get("/users", as_=with_key(key))).status == 401
    assert (await client.get("/users", as_=with_key(rotated))).status == 200
    assert (await client.delete(f"{keys}/{key['id']}", as_=admin)).status == 204
    assert (await client.get("/users", as_=with_key(rotated))).status == 401


async def test_keys_are_found_under_their_own_service_only(client: Client, admin: Caller) -> None:
    one, other = await service(client, admin, "one", "reader"), await service(client, admin, "other", "reader")
    key = await key_of(client, admin, one["id"], "users:list")
    for address in (f"/service-accounts/{other['id']}/keys/{key['id']}", f"/users/{one['id']}x/api-keys/{key['id']}"):
        assert (await client.delete(address, as_=admin)).status == 404
    assert (await client.get(f"{NOWHERE}/keys", as_=admin)).code == "services.not_found"
    assert (await client.get("/users", as_=with_key(key))).status == 200


async def test_looking_after_services_is_a_permission_of_its_own(client: Client, callers: Callers, admin: Caller) -> None:
    """ASVS V8.2.1; and no key may do it, so that none makes another."""
    made = await service(client, admin, "nightly", "reader")
    eve = await callers.person("eve")
    routes: list[tuple[str, str, Any]] = [
        ("GET", "/service-accounts", None),
        ("POST", "/service-accounts", {"name": "x"}),
        ("GET", f"/service-accounts/{made['id']}", None),
        ("PATCH", f"/service-accounts/{made['id']}", {"disabled": True}),
        ("DELETE", f"/service-accounts/{made['id']}", None),
        ("POST", f"/service-accounts/{made['id']}/keys", {"name": "x", "scopes": ["users:list"]}),
    ]
    for method, path, body in routes:
        assert (await client.call(method, path, json=body, as_=eve)).status == 403
    scoped = await client.post("/api-keys", {"name": "x", "scopes": ["service-accounts:write"]}, as_=admin)
    assert scoped.status == 422


async def test_names_are_one_of_a_kind(client: Client, admin: Caller) -> None:
    await service(client, admin, "nightly")
    other = await service(client, admin, "weekly")
    again: Reply = await client.post("/service-accounts", {"name": "nightly"}, as_=admin)
    assert (again.status, again.code) == (409, "services.exists")
    assert (await client.patch(f"/service-accounts/{other['id']}", {"name": "nightly"}, as_=admin)).code == "services.exists"
