"""API keys as their owners and their users meet them: networks, rotation, who may do what (ASVS V6.3, V7.5.3, V8.2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from fortress import Fortress
from fortress.clock import SystemClock
from fortress.data import Database
from fortress.security import SYSTEM
from fortress.security.directory import CallerDirectory
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client, Reply

WEEK = 168


@pytest.fixture
async def ann(callers: Callers) -> Caller:
    return await callers.person("ann")


async def make(client: Client, by: Caller, **more: Any) -> dict[str, Any]:
    made = await client.post("/api-keys", {"name": "nightly", "scopes": ["account:read"], **more}, as_=by)
    assert made.status == 201, made.body
    body: dict[str, Any] = made.json()
    return body


def with_key(key: dict[str, Any]) -> Caller:
    return Caller("a program", headers={"x-api-key": key["key"]})


async def from_address(running: Fortress, address: str, key: dict[str, Any], **headers: str) -> Reply:
    return await Client(running, address=address).get("/users/me", headers={"x-api-key": key["key"], **headers})


def database_of(running: Fortress) -> Database:
    assert running.runtime is not None
    return running.runtime.container.get(Database)


async def quiet(running: Fortress) -> None:
    """Wait for what is written beside the requests."""
    assert running.runtime is not None
    await running.runtime.background.finish(5)


async def fields(client: Client, by: Caller, body: dict[str, Any]) -> set[tuple[str, str]]:
    refused = await client.post("/api-keys", {"name": "x", "scopes": ["account:read"], **body}, as_=by)
    assert refused.status == 422, refused.body
    return {(error["field"], error["code"]) for error in refused.json()["errors"]}


async def test_a_remembered_key_costs_no_round_trip_to_the_database(client: Client, ann: Caller, running: Fortress) -> None:
    """What a request costs is what its handler asks for, whichever way the caller is known."""
    key = with_key(await make(client, ann, networks=["127.0.0.0/8"]))
    database = database_of(running)
    for caller in (key, ann):
        assert (await client.get("/users/me", as_=caller)).status == 200
    await quiet(running)
    taken = []
    for caller in (key, ann):
        with database.counting() as counted:
            assert (await client.get("/users/me", as_=caller)).status == 200
        taken.append(counted.round_trips)
    assert taken[0] == taken[1]
    with database.counting() as counted:
        for _ in range(20):
            assert (await client.get("/api-keys", as_=key)).status == 403, "told by the gate, which has to know the key for it"
    assert counted.round_trips == 0


@pytest.mark.parametrize("of_service", [False, True])
async def test_a_key_is_looked_up_in_two_round_trips(client: Client, callers: Callers, running: Fortress, *, of_service: bool) -> None:
    """One for the key with its owner, of either kind, and one for what they hold."""
    admin = await callers.administrator()
    if of_service:
        service = (await client.post("/service-accounts", {"name": "nightly", "roles": ["clerk"]}, as_=admin)).json()
        made = await client.post(f"/service-accounts/{service['id']}/keys", {"name": "x", "scopes": ["orders:read"]}, as_=admin)
        key = made.json()
    else:
        key = await make(client, admin)
    assert running.runtime is not None
    directory = running.runtime.provider(CallerDirectory)
    assert await directory.caller_of_key(UUID(key["id"])) is not None
    with database_of(running).counting() as counted:
        assert await directory.caller_of_key(UUID(key["id"])) is not None
    assert counted.round_trips == 2


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        (["203.0.113.0/24"], "203.0.113.9", 200),
        (["203.0.113.0/24"], "203.0.114.9", 403),
        (["203.0.113.9"], "203.0.113.9", 200),
        (["203.0.113.9"], "203.0.113.8", 403),
        (["203.0.113.0/24"], "::ffff:203.0.113.9", 200),
        (["203.0.113.0/24"], "::ffff:203.0.114.9", 403),
        (["2001:db8::/32"], "2001:db8:1::1", 200),
        (["2001:db8::/32"], "2001:db9::1", 403),
        (["0.0.0.0/0"], "2001:db8::1", 403),
        (["198.51.100.0/24", "2001:db8::/32"], "2001:db8::1", 200),
        (["203.0.113.0/24"], "local", 403),
        ([], "203.0.114.9", 200),
    ],
)
async def test_a_key_works_from_its_networks_only(
    client: Client, ann: Caller, running: Fortress, networks: list[str], address: str, status: int
) -> None:
    """Also when the caller is remembered: each is asked twice."""
    key = await make(client, ann, networks=networks)
    for _ in range(2):
        answer = await from_address(running, address, key)
        assert answer.status == status
        assert status == 200 or answer.code == "auth.address_not_allowed"


async def test_what_a_client_says_of_its_address_counts_for_nothing(client: Client, ann: Caller, running: Fortress) -> None:
    key = await make(client, ann, networks=["203.0.113.0/24"])
    for forged in ({"x-forwarded-for": "203.0.113.9"}, {"forwarded": "for=203.0.113.9"}, {"x-real-ip": "203.0.113.9"}):
        assert (await from_address(running, "198.51.100.1", key, **forged)).status == 403


async def test_misuse_is_written_down_once_and_with_its_address(client: Client, ann: Caller, running: Fortress) -> None:
    key = await make(client, ann, networks=["203.0.113.0/24"])
    for _ in range(30):
        await from_address(running, "198.51.100.1", key)
    await quiet(running)
    rows = (
        await database_of(running)
        .reader(SYSTEM)
        .rows("SELECT target, address FROM audit_log WHERE action = $1", ("api_keys.address_refused",))
    )
    assert [(row["target"], row["address"]) for row in rows] == [(key["id"], "198.51.100.1")]


@pytest.mark.parametrize(
    "network", ["203.0.113.1/24", "everywhere", "203.0.113.0/33", "", "::ffff:203.0.113.0/120", "0x7f.1", "203.0.113.0/24 ", "\u0661.1.1.1"]
)
async def test_what_is_no_network_is_refused_by_its_place(client: Client, ann: Caller, network: str) -> None:
    assert {field for field, _ in await fields(client, ann, {"networks": ["198.51.100.0/24", network]})} == {"/networks/1"}


async def test_networks_are_bounded_and_each_is_kept_once(client: Client, ann: Caller) -> None:
    many = [f"203.0.113.{number}" for number in range(21)]
    assert await fields(client, ann, {"networks": many}) == {("/networks", "too_long")}
    kept = await make(client, ann, networks=["203.0.113.9", "203.0.113.9/32", "2001:DB8::/32"])
    assert kept["networks"] == ["203.0.113.9/32", "2001:db8::/32"]


async def test_a_rotated_key_works_with_both_secrets_until_the_overlap_is_over(client: Client, ann: Caller, running: Fortress) -> None:
    old = await make(client, ann)
    new = (await client.post(f"/api-keys/{old['id']}/rotate", {"overlap_hours": 24}, as_=ann)).json()
    assert (new["id"], new["prefix"], new["status"]) == (old["id"], old["prefix"], "rotating")
    assert new["key"] != old["key"]
    for key in (old, new):
        assert (await client.get("/users/me", as_=with_key(key))).status == 200
    await quiet(running)
    seen = (await client.get(f"/api-keys/{old['id']}", as_=ann)).json()
    assert seen["used_at"]
    assert seen["previous"]["used_at"], "so that its owner sees who still has the old one"
    assert "key" not in seen
    again = (await client.post(f"/api-keys/{old['id']}/rotate", {"overlap_hours": 24}, as_=ann)).json()
    answers = [(await client.get("/users/me", as_=with_key(key))).status for key in (old, new, again)]
    assert answers == [401, 200, 200], "a key has two secrets at most"


async def test_no_overlap_ends_the_old_secret_at_once(client: Client, ann: Caller) -> None:
    old = await make(client, ann)
    assert (await client.get("/users/me", as_=with_key(old))).status == 200
    new = (await client.post(f"/api-keys/{old['id']}/rotate", {"overlap_hours": 0}, as_=ann)).json()
    assert [(await client.get("/users/me", as_=with_key(key))).status for key in (old, new)] == [401, 200]
    assert new["status"] == "active"


async def test_revoking_ends_both_secrets(client: Client, ann: Caller) -> None:
    old = await make(client, ann)
    new = (await client.post(f"/api-keys/{old['id']}/rotate", {}, as_=ann)).json()
    for key in (old, new):
        assert (await client.get("/users/me", as_=with_key(key))).status == 200
    assert (await client.delete(f"/api-keys/{old['id']}", as_=ann)).status == 204
    for key in (old, new):
        assert (await client.get("/users/me", as_=with_key(key))).status == 401
    assert (await client.post(f"/api-keys/{old['id']}/rotate", {}, as_=ann)).code == "api_keys.not_found"


async def test_a_rotation_renews_the_term_and_never_lengthens_the_old_secret(client: Client, ann: Caller) -> None:
    old = await make(client, ann, expires_in_days=3)
    new = (await client.post(f"/api-keys/{old['id']}/rotate", {"overlap_hours": WEEK}, as_=ann)).json()
    assert new["expires_at"] > old["expires_at"]
    assert new["previous"]["until"] == old["expires_at"]


@pytest.mark.parametrize("hours", [-1, WEEK + 1, 1.5, "1", None])
async def test_an_overlap_is_a_week_at_most(client: Client, ann: Caller, hours: Any) -> None:
    key = await make(client, ann)
    assert (await client.post(f"/api-keys/{key['id']}/rotate", {"overlap_hours": hours}, as_=ann)).status == 422


async def test_a_key_is_renamed_and_moved_to_other_networks(client: Client, ann: Caller, running: Fortress) -> None:
    key = await make(client, ann)
    assert (await from_address(running, "198.51.100.1", key)).status == 200
    renamed = (await client.patch(f"/api-keys/{key['id']}", {"name": "weekly"}, as_=ann)).json()
    assert (renamed["name"], renamed["networks"]) == ("weekly", [])
    moved = (await client.patch(f"/api-keys/{key['id']}", {"networks": ["203.0.113.0/24"]}, as_=ann)).json()
    assert (moved["name"], moved["networks"]) == ("weekly", ["203.0.113.0/24"])
    assert (await from_address(running, "198.51.100.1", key)).status == 403, "who was remembered is forgotten"


@pytest.mark.parametrize("verb", ["GET", "PATCH", "ROTATE", "DELETE"])
async def test_other_peoples_keys_are_not_found(client: Client, callers: Callers, ann: Caller, verb: str) -> None:
    """ASVS V8.2.2."""
    key, eve = await make(client, ann), await callers.person("eve")
    address = f"/api-keys/{key['id']}"
    refused = (
        await client.post(f"{address}/rotate", {}, as_=eve)
        if verb == "ROTATE"
        else await client.call(verb, address, json={"name": "mine"} if verb == "PATCH" else None, as_=eve)
    )
    assert (refused.status, refused.code) == (404, "api_keys.not_found")
    assert (await client.get("/users/me", as_=with_key(key))).status == 200


async def test_no_key_makes_or_changes_keys(client: Client, callers: Callers) -> None:
    """ASVS V8.2.1: not even an administrator's."""
    admin = await callers.administrator()
    names = [one["name"] for one in (await client.get("/permissions", as_=admin)).json()["items"]]
    assert {"account:api-keys", "api-keys:manage", "service-accounts:write"} <= set(names)
    for scope in ("account:api-keys", "api-keys:manage", "service-accounts:write", "service-accounts:read"):
        refused = await client.post("/api-keys", {"name": "x", "scopes": [scope]}, as_=admin)
        assert (refused.status, refused.json()["errors"][0]["code"]) == (422, "scope_not_held")


async def test_somebodys_keys_are_seen_and_revoked_by_permission(client: Client, callers: Callers, ann: Caller) -> None:
    key, eve = await make(client, ann), await callers.person("eve")
    admin = await callers.administrator()
    address = f"/users/{ann.id}/api-keys"
    assert (await client.get(address, as_=eve)).status == 403
    assert (await client.delete(f"{address}/{key['id']}", as_=eve)).status == 403
    listed = await client.get(address, as_=admin)
    assert [one["id"] for one in listed.json()["items"]] == [key["id"]]
    assert key["key"] not in listed.body.decode()
    assert (await client.delete(f"/users/{eve.id}/api-keys/{key['id']}", as_=admin)).status == 404
    assert (await client.delete(f"{address}/{key['id']}", as_=admin)).status == 204
    assert (await client.get("/users/me", as_=with_key(key))).status == 401


class TestLater:
    """A quarter of an hour after the sign-in."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"access_minutes": 60})

    async def test_making_and_rotating_ask_for_a_fresh_proof(
        self, client: Client, ann: Caller, running: Fortress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ASVS V7.5.3."""
        key = await make(client, ann)
        real = SystemClock.now
        monkeypatch.setattr(SystemClock, "now", lambda self: real(self) + timedelta(minutes=16))
        address = f"/api-keys/{key['id']}"
        asked = [
            await client.post("/api-keys", {"name": "x", "scopes": ["account:read"]}, as_=ann),
            await client.post(f"{address}/rotate", {}, as_=ann),
            await client.patch(address, {"networks": []}, as_=ann),
        ]
        assert [(one.status, one.code) for one in asked] == [(401, "auth.reauthentication_required")] * 3
        assert (await client.get(address, as_=ann)).status == 200
        assert (await client.delete(address, as_=ann)).status == 204, "taking away is never made hard"
