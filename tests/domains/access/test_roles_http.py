"""Roles made at run time, as clients meet them: what is refused first (ASVS V8.2.1, V8.2.3, V8.3.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client, Reply

AUDITOR = {"name": "auditor", "title": "Reads the log", "grants": ["audit:read"]}
MAKER = {"name": "maker", "title": "Makes roles", "grants": ["roles:write", "roles:assign", "roles:read", "audit:read"]}


def fields(reply: Reply) -> dict[str, str]:
    return {error["field"]: error["code"] for error in reply.json()["errors"]}


def soon(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


async def made(client: Client, callers: Callers, role: dict[str, Any] = AUDITOR) -> Caller:
    """An administrator, who has made this role."""
    admin = await callers.administrator()
    reply = await client.post("/roles", role, as_=admin)
    assert reply.status == 201, reply.body
    return admin


async def maker(client: Client, callers: Callers, name: str = "eve") -> Caller:
    """Somebody who may make and assign roles, and holds little beyond that."""
    await made(client, callers, MAKER)
    return await callers.person(name, roles=["member", "maker"])


async def test_a_role_is_made_read_listed_changed_and_removed(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    answer = await client.post("/roles", AUDITOR, as_=admin)
    assert answer.status == 201
    assert answer.headers["location"] == "/api/v1/roles/auditor"
    role = answer.json()
    assert (role["origin"], role["grants"], role["by_default"], role["second_factor"], role["version"]) == (
        "made",
        ["audit:read"],
        False,
        False,
        1,
    )
    assert (await client.get("/roles/auditor", as_=admin)).json() == role
    names = [one["name"] for one in (await client.get("/roles", as_=admin)).json()["items"]]
    assert names == sorted(names)
    assert {"admin", "auditor", "member"} <= set(names)
    changed = await client.put("/roles/auditor", {"title": "Sees", "grants": ["users:list", "audit:read", "users:list"]}, as_=admin)
    assert (changed.status, changed.json()["grants"], changed.json()["version"]) == (200, ["audit:read", "users:list"], 2)
    assert (await client.delete("/roles/auditor", as_=admin)).status == 204
    assert (await client.get("/roles/auditor", as_=admin)).code == "roles.not_found"
    assert (await client.delete("/roles/auditor", as_=admin)).status == 404


async def test_the_list_goes_on_from_page_to_page(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    for name in ("a-b", "ab", "a0", "zz"):
        assert (await client.post("/roles", AUDITOR | {"name": name}, as_=admin)).status == 201
    whole = [one["name"] for one in (await client.get("/roles?limit=100", as_=admin)).json()["items"]]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/roles?limit=2{cursor and '&cursor='}{cursor}", as_=admin)).json()
        found += [one["name"] for one in page["items"]]
        cursor = page["next"]
    assert found == whole == sorted(whole)
    assert len(found) == 8


@pytest.mark.parametrize("role", ["admin", "member", "customer", "clerk"])
async def test_a_declared_role_is_code_and_nobody_changes_it(client: Client, callers: Callers, role: str) -> None:
    admin = await callers.administrator()
    body = {"title": "Mine", "grants": ["audit:read"]}
    assert (await client.post("/roles", body | {"name": role}, as_=admin)).code == "roles.exists"
    assert (await client.put(f"/roles/{role}", body, as_=admin)).code == "roles.declared"
    assert (await client.delete(f"/roles/{role}", as_=admin)).code == "roles.declared"
    assert (await client.get(f"/roles/{role}", as_=admin)).json()["origin"] == "declared"


@pytest.mark.parametrize("name", ["", "x", "Auditor", "1st", "-a", "a b", "a" * 61, "ü1", "a_b", "admin\n", None, 7])
async def test_a_name_is_plain(client: Client, callers: Callers, name: object) -> None:
    refused = await client.post("/roles", AUDITOR | {"name": name}, as_=await callers.administrator())
    assert (refused.status, set(fields(refused))) == (422, {"/name"})


@pytest.mark.parametrize("title", ["", " ", "x" * 121, "a\nb", "a\u202eb", " a", None])
async def test_a_title_is_one_visible_line(client: Client, callers: Callers, title: object) -> None:
    refused = await client.post("/roles", AUDITOR | {"title": title}, as_=await callers.administrator())
    assert (refused.status, set(fields(refused))) == (422, {"/title"})


async def test_grants_must_be_declared_and_each_that_is_not_is_named(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    grants = ["audit:read", "no:such", "users:read", "*", "users:read.own", "AUDIT:READ"]
    refused = await client.post("/roles", AUDITOR | {"grants": grants}, as_=admin)
    assert fields(refused) == {f"/grants/{place}": "unknown_grant" for place in (1, 2, 3, 5)}
    await made(client, callers)
    assert fields(await client.put("/roles/auditor", {"title": "t", "grants": ["*"]}, as_=admin)) == {"/grants/0": "unknown_grant"}
    too_many = [f"x:{number}" for number in range(101)]
    assert "/grants" in fields(await client.post("/roles", AUDITOR | {"grants": too_many}, as_=admin))


async def test_only_who_holds_the_permission_makes_changes_and_removes(client: Client, callers: Callers) -> None:
    admin = await made(client, callers)
    reader = await callers.person("reader", roles=["auditor"])
    body = {"title": "Mine", "grants": ["audit:read"]}
    key = await client.post("/api-keys", {"name": "k", "scopes": ["roles:read"]}, as_=admin)
    service = Caller("service", headers={"x-api-key": key.json()["key"]})
    for caller, status in ((callers.nobody, 401), (reader, 403), (service, 403)):
        assert (await client.post("/roles", body | {"name": "mine"}, as_=caller)).status == status
        assert (await client.put("/roles/auditor", body, as_=caller)).status == status
        assert (await client.delete("/roles/auditor", as_=caller)).status == status
        assert (await client.put(f"/users/{reader.id}/roles", {"roles": ["auditor"]}, as_=caller)).status == status
    assert (await client.get("/roles", as_=service)).status == 200
    assert (await client.get("/roles/auditor", as_=reader)).status == 403


async def test_nobody_puts_into_a_role_what_they_do_not_hold(client: Client, callers: Callers) -> None:
    eve = await maker(client, callers)
    refused = await client.post("/roles", {"name": "mine", "title": "Mine", "grants": ["users:list"]}, as_=eve)
    assert (refused.status, refused.code) == (403, "access.not_held")
    assert (await client.post("/roles", {"name": "mine", "title": "Mine", "grants": ["audit:read"]}, as_=eve)).status == 201
    # Not by the detour of changing what one holds oneself, or what others hold.
    for role in ("mine", "maker"):
        grants = {"title": "Mine", "grants": ["audit:read", "users:write"]}
        assert (await client.put(f"/roles/{role}", grants, as_=eve)).code == "access.not_held"
    assert (await client.get("/users", as_=eve)).status == 403


async def test_nobody_takes_away_what_they_do_not_hold(client: Client, callers: Callers) -> None:
    eve = await maker(client, callers)
    admin = await callers.administrator()
    strong = {"name": "strong", "title": "Strong", "grants": ["users:list", "users:write"]}
    assert (await client.post("/roles", strong, as_=admin)).status == 201
    boss = await callers.person("boss", roles=["strong"])
    assert (await client.put("/roles/strong", {"title": "Weak", "grants": []}, as_=eve)).code == "access.not_held"
    assert (await client.delete("/roles/strong", as_=eve)).code == "access.not_held"
    assert (await client.put(f"/users/{boss.id}/roles", {"roles": []}, as_=eve)).code == "access.not_held"
    assert (await client.put(f"/users/{eve.id}/roles", {"roles": ["maker", "strong"]}, as_=eve)).code == "access.not_held"
    assert (await client.get("/users", as_=boss)).status == 200


async def test_taking_the_second_factor_off_a_role_is_giving_all_of_it(client: Client, callers: Callers) -> None:
    eve = await maker(client, callers)
    admin = await callers.administrator()
    guarded = {"name": "guarded", "title": "Guarded", "grants": ["users:list"], "second_factor": True}
    assert (await client.post("/roles", guarded, as_=admin)).status == 201
    for caller, status in ((eve, 403), (admin, 200)):
        reply = await client.put("/roles/guarded", {"title": "Open", "grants": ["users:list"]}, as_=caller)
        assert reply.status == status


async def test_a_made_role_opens_what_it_grants_and_nothing_else(client: Client, callers: Callers) -> None:
    await made(client, callers, AUDITOR | {"grants": ["audit:read", "users:read.any"]})
    ann = await callers.person("ann", roles=["auditor"])
    eve = await callers.person("eve")
    assert (await client.get("/audit", as_=ann)).status == 200
    assert (await client.get(f"/users/{eve.id}", as_=ann)).status == 200
    assert (await client.get("/users", as_=ann)).status == 403
    assert (await client.get("/users/me", as_=ann)).json()["roles"] == ["auditor"]
    key = await client.post("/api-keys", {"name": "k", "scopes": ["audit:read"]}, as_=ann)
    service = Caller("service", headers={"x-api-key": key.json()["key"]})
    assert (await client.get("/audit", as_=service)).status == 200
    assert (await client.get(f"/users/{eve.id}", as_=service)).status == 403


async def test_a_changed_role_holds_with_the_next_request(client: Client, callers: Callers) -> None:
    admin = await made(client, callers)
    ann = await callers.person("ann", roles=["auditor"])
    key = await client.post("/api-keys", {"name": "k", "scopes": ["audit:read"]}, as_=ann)
    service = Caller("service", headers={"x-api-key": key.json()["key"]})
    for caller in (ann, service):
        assert (await client.get("/audit", as_=caller)).status == 200
    assert (await client.put("/roles/auditor", {"title": "Less", "grants": ["users:list"]}, as_=admin)).status == 200
    for caller in (ann, service):
        assert (await client.get("/audit", as_=caller)).status == 403
    assert (await client.get("/users", as_=ann)).status == 200


async def test_a_role_with_a_second_factor_asks_for_it(client: Client, callers: Callers) -> None:
    await made(client, callers, AUDITOR | {"second_factor": True})
    ann = await callers.person("ann", roles=["auditor"])
    refused = await client.get("/audit", as_=ann)
    assert (refused.status, refused.code) == (401, "auth.second_factor_required")
    mine = (await client.get("/users/me/permissions/audit:read", as_=ann)).json()
    assert (mine["explanation"]["allowed"], mine["usable_now"], mine["lacking"]) == (True, False, ["second_factor"])


async def test_a_role_that_somebody_holds_stays(client: Client, callers: Callers) -> None:
    admin = await made(client, callers)
    ann = await callers.person("ann", roles=["auditor"])
    refused = await client.delete("/roles/auditor", as_=admin)
    assert (refused.status, refused.code) == (409, "roles.held")
    assert (await client.put(f"/users/{ann.id}/roles", {"roles": []}, as_=admin)).status == 200
    assert (await client.delete("/roles/auditor", as_=admin)).status == 204
    unknown = await client.put(f"/users/{ann.id}/roles", {"roles": ["auditor"]}, as_=admin)
    assert fields(unknown) == {"/roles/0": "unknown_role"}


async def test_who_read_an_older_version_changes_nothing(client: Client, callers: Callers) -> None:
    admin = await made(client, callers)
    body = {"title": "Next", "grants": ["audit:read"], "version": 1}
    assert (await client.put("/roles/auditor", body, as_=admin)).json()["version"] == 2
    assert (await client.put("/roles/auditor", body, as_=admin)).code == "request.stale_version"
    assert (await client.put("/roles/nope", body, as_=admin)).code == "roles.not_found"


async def test_a_role_may_be_given_until_a_moment(client: Client, callers: Callers) -> None:
    admin = await made(client, callers)
    ann = await callers.person("ann")
    end = soon(hours=1)
    given = await client.put(f"/users/{ann.id}/roles", {"roles": ["member", {"name": "auditor", "expires_at": end}]}, as_=admin)
    assert given.status == 200, given.body
    body = given.json()
    assert (body["roles"], list(body["expires"])) == (["member", "auditor"], ["auditor"])
    assert datetime.fromisoformat(body["expires"]["auditor"]) == datetime.fromisoformat(end)
    assert (await client.get(f"/users/{ann.id}/roles", as_=admin)).json() == body
    assert (await client.get("/audit", as_=ann)).status == 200
    plain = await client.put(f"/users/{ann.id}/roles", {"roles": [{"name": "auditor"}, {"name": "member", "expires_at": None}]}, as_=admin)
    assert plain.json() == {"user_id": ann.id, "roles": ["auditor", "member"]}


@pytest.mark.parametrize(
    ("roles", "wrong"),
    [
        ([{"name": "auditor", "expires_at": "2020-01-01T00:00:00Z"}], {"/roles/0/expires_at": "past"}),
        ([{"name": "auditor", "expires_at": "2026-01-01T00:00:00"}], {"/roles/0/expires_at": "timezone_aware"}),
        ([{"name": "auditor", "expires_at": "2999-01-01T00:00:00Z"}], {"/roles/0/expires_at": "less_than_equal"}),
        ([{"name": "auditor", "expires_at": "tomorrow"}], {"/roles/0/expires_at": "datetime_from_date_parsing"}),
        (["auditor", {"name": "auditor", "expires_at": "2100-01-01T00:00:00Z"}], {"/roles/1": "role_twice"}),
        (["member", "king"], {"/roles/1": "unknown_role"}),
        ([{"name": "member", "until": "x"}], {"/roles/0/until": "extra_forbidden"}),
        ([{"expires_at": None}], {"/roles/0/name": "missing"}),
        ([7], {"/roles/0": "model_type"}),
        ([["member"]], {"/roles/0": "model_type"}),
        ([""], {"/roles/0/name": "string_too_short"}),
        ([f"r{number}" for number in range(21)], {"/roles": "too_long"}),
    ],
)
async def test_what_is_wrong_with_an_assignment_is_said_by_its_place(
    client: Client, callers: Callers, roles: list[object], wrong: dict[str, str]
) -> None:
    admin = await made(client, callers)
    ann = await callers.person("ann")
    refused = await client.put(f"/users/{ann.id}/roles", {"roles": roles}, as_=admin)
    assert refused.status == 422
    assert fields(refused) == wrong


async def test_the_roles_of_nobody_are_not_found(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    for reply in (
        await client.get(f"/users/{uuid4()}/roles", as_=admin),
        await client.put(f"/users/{uuid4()}/roles", {"roles": []}, as_=admin),
        await client.get(f"/users/{uuid4()}/permissions/audit:read", as_=admin),
    ):
        assert (reply.status, reply.code) == (404, "users.not_found")


async def test_the_last_administrator_can_not_be_one_for_a_while(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    for_now = {"roles": ["member", {"name": "admin", "expires_at": soon(days=1)}]}
    assert (await client.put(f"/users/{admin.id}/roles", for_now, as_=admin)).code == "access.last_administrator"
    deputy = await callers.person("deputy")
    assert (await client.put(f"/users/{deputy.id}/roles", for_now, as_=admin)).status == 200
    # The deputy's end comes: somebody must remain.
    assert (await client.put(f"/users/{admin.id}/roles", {"roles": []}, as_=admin)).code == "access.last_administrator"
    assert (await client.put(f"/users/{admin.id}/roles", {"roles": []}, as_=deputy)).status in (403, 409)


async def test_who_holds_something_for_a_while_gives_it_for_no_longer(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    deputy, ann = await callers.person("deputy"), await callers.person("ann")
    end, later, sooner = soon(days=2), soon(days=3), soon(days=1)
    assert (await client.put(f"/users/{deputy.id}/roles", {"roles": [{"name": "admin", "expires_at": end}]}, as_=admin)).status == 200

    async def give(person: Caller, *roles: object) -> int:
        return (await client.put(f"/users/{person.id}/roles", {"roles": [*roles]}, as_=deputy)).status

    assert await give(deputy, "admin") == 403
    assert await give(deputy, {"name": "admin", "expires_at": later}) == 403
    assert await give(ann, "admin") == 403
    assert await give(ann, {"name": "admin", "expires_at": sooner}) == 200
    assert await give(ann) == 200
    assert (await client.post("/roles", AUDITOR, as_=deputy)).code == "access.not_held", "a role has no end"


async def test_why_somebody_may_do_something(client: Client, callers: Callers) -> None:
    admin = await made(client, callers, AUDITOR | {"grants": ["audit:read", "users:read.any"]})
    ann = await callers.person("ann")
    await client.put(f"/users/{ann.id}/roles", {"roles": ["member", {"name": "auditor", "expires_at": soon(days=1)}]}, as_=admin)
    told = (await client.get(f"/users/{ann.id}/permissions/users:read", as_=admin)).json()
    assert (told["allowed"], told["reach"], told["missing"], told["given_by"]) == (True, "any", [], [])
    assert [(one["role"], one["origin"], one["reach"], one["expires_at"] is None) for one in told["roles"]] == [
        ("member", "declared", "own", True),
        ("auditor", "made", "any", False),
    ]
    ways = {way["method"]: way for way in told["ways"]}
    assert ways["api_key"]["scopes"] == ["users:read.any", "users:read.own"]
    lacking = (await client.get(f"/users/{ann.id}/permissions/users:write", as_=admin)).json()
    assert (lacking["allowed"], lacking["missing"], lacking["given_by"]) == (False, ["role"], ["admin"])
    assert {way["method"]: way["allowed"] for way in lacking["ways"]} == {"session": True, "api_key": False}
    assert (await client.get(f"/users/{ann.id}/permissions/users:reed", as_=admin)).code == "permissions.not_found"
    assert (await client.get(f"/users/{ann.id}/permissions/users:read", as_=ann)).status == 403
    await client.patch(f"/users/{ann.id}", {"status": "disabled"}, as_=admin)
    told = (await client.get(f"/users/{ann.id}/permissions/audit:read", as_=admin)).json()
    assert (told["allowed"], told["missing"]) == (False, ["suspended"])


async def test_why_oneself_may_do_something_and_whether_by_what_one_came_with(client: Client, callers: Callers) -> None:
    ann = await callers.person("ann")
    key = await client.post("/api-keys", {"name": "k", "scopes": ["account:permissions"]}, as_=ann)
    service = Caller("service", headers={"x-api-key": key.json()["key"]})

    async def mine(permission: str, caller: Caller) -> tuple[bool, bool, list[str]]:
        body = (await client.get(f"/users/me/permissions/{permission}", as_=caller)).json()
        return body["explanation"]["allowed"], body["usable_now"], body["lacking"]

    assert await mine("orders:place", ann) == (True, True, [])
    assert await mine("orders:place", service) == (True, False, ["scope"])
    assert await mine("account:password", service) == (True, False, ["method"])
    assert await mine("users:list", ann) == (False, False, [])
    listed = {one["permission"]: one for one in (await client.get("/users/me/permissions", as_=service)).json()["items"]}
    assert (listed["orders:read"]["reach"], listed["orders:read"]["roles"], listed["orders:read"]["usable_now"]) == (
        "own",
        ["customer"],
        False,
    )
    assert listed["account:permissions"]["usable_now"]
    assert "users:list" not in listed
    assert (await client.get("/users/me/permissions")).status == 401


async def test_what_is_held_and_not_used_is_listed(client: Client, callers: Callers) -> None:
    admin = await made(client, callers)
    ann = await callers.person("ann", roles=["auditor", "customer"])
    await callers.person("bob")
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/roles/unused?limit=3{cursor and '&cursor='}{cursor}", as_=admin)).json()
        seen += page["items"]
        cursor = page["next"]
    assert [(one["grant"], one["roles"], one["last_used"]) for one in seen if one["user_id"] == ann.id] == [
        ("audit:read", ["auditor"], None)
    ]
    assert {one["user_id"] for one in seen} == {ann.id, admin.id}, "who holds what everyone does holds nothing for nothing"
    assert len(seen) == len({(one["user_id"], one["grant"]) for one in seen})
    assert not [one for one in seen if one["grant"].endswith(".own")], "over everyone's rows says it"
    for query in ("days=0", "days=x", "days=4000", "limit=0", "cursor=x"):
        assert (await client.get(f"/roles/unused?{query}", as_=admin)).status == 422
    assert (await client.get("/roles/unused", as_=ann)).status == 403
