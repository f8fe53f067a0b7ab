"""The built-in domains as clients meet them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client

NEW = {"email": "new@example.com", "password": PASSWORD, "age": 13}


def bearer(pair: dict[str, Any]) -> Caller:
    return Caller("somebody", headers={"authorization": f"Bearer {pair['access_token']}"})


async def test_signing_up_answers_with_the_account_and_where_it_is(client: Client) -> None:
    made = await client.post("/users", NEW | {"name": "New Person"})
    assert made.status == 201
    body = made.json()
    assert made.headers["location"] == f"/api/v1/users/{body['id']}"
    assert UUID(body["id"]).version == 7
    assert (body["email"], body["name"], body["status"]) == ("new@example.com", "New Person", "active")
    assert not {"password", "password_hash", "age", "email_key"} & set(body)


async def test_the_owner_can_follow_the_location(client: Client, callers: Callers) -> None:
    ann, eve = await callers.person("ann"), await callers.person("eve")
    assert (await client.get(f"/users/{ann.id}", as_=ann)).json()["email"] == "ann@example.com"
    assert (await client.get(f"/users/{ann.id}", as_=eve)).status == 404
    assert (await client.get(f"/users/{ann.id}", as_=await callers.administrator())).status == 200


async def test_an_address_in_use_can_not_be_told_from_a_free_one(client: Client) -> None:
    first, second = await client.post("/users", NEW), await client.post("/users", NEW)
    assert (first.status, second.status) == (201, 201)
    assert list(first.json()) == list(second.json())
    assert [name for name, _ in first.raw_headers] == [name for name, _ in second.raw_headers]
    assert len(first.body) == len(second.body)
    assert first.json()["id"] != second.json()["id"]


async def test_all_that_is_wrong_is_told_at_once(client: Client) -> None:
    refused = await client.post("/users", {"email": "nobody", "password": "short", "age": 12, "role": "admin"})
    assert refused.status == 422
    assert {error["field"] for error in refused.json()["errors"]} == {"/email", "/password", "/age", "/role"}
    assert "short" not in refused.body.decode().replace("too_short", "").replace("String should", "")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "ghost@example.com", "password": PASSWORD},
        {"email": "ann@example.com", "password": "not her password"},
        {"email": "not an address", "password": PASSWORD},
    ],
)
async def test_a_failed_sign_in_says_nothing_of_why(client: Client, callers: Callers, body: dict[str, str]) -> None:
    await callers.person("ann")
    refused = await client.post("/auth/login", body)
    assert refused.status == 401
    problem = refused.json()
    assert (problem["code"], problem["error"]) == ("auth.invalid_credentials", "E-mail address or password is wrong.")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_signing_out_kills_the_access_and_the_refresh_token(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    pair, other = await callers.tokens("ann@example.com"), await callers.tokens("ann@example.com")
    assert (await client.get("/users/me", as_=bearer(pair))).status == 200
    assert (await client.post("/auth/logout", as_=bearer(pair))).status == 204
    assert (await client.get("/users/me", as_=bearer(pair))).status == 401
    assert (await client.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401
    assert (await client.get("/users/me", as_=bearer(other))).status == 200


async def test_me_is_the_caller_with_their_roles(client: Client, callers: Callers) -> None:
    ann = await callers.person("ann")
    me = (await client.get("/users/me", as_=ann)).json()
    assert (me["id"], me["email"], set(me["roles"])) == (ann.id, "ann@example.com", {"member", "customer"})


async def test_a_refresh_token_is_not_an_access_token_and_the_other_way_round(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    pair = await callers.tokens("ann@example.com")
    swapped = {"authorization": f"Bearer {pair['refresh_token']}"}
    assert (await client.get("/users/me", headers=swapped)).status == 401
    assert (await client.post("/auth/refresh", {"refresh_token": pair["access_token"]})).status == 401


async def test_sessions_are_listed_and_ended_one_by_one(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    eve = await callers.person("eve")
    here = bearer(await callers.tokens("ann@example.com"))
    there = bearer(await callers.tokens("ann@example.com"))
    listed = (await client.get("/users/me/sessions", as_=here)).json()["items"]
    assert [item["current"] for item in listed].count(True) == 1
    assert len(listed) == 3
    current = next(item["id"] for item in (await client.get("/users/me/sessions", as_=there)).json()["items"] if item["current"])
    assert (await client.delete(f"/users/me/sessions/{current}", as_=eve)).status == 404
    assert (await client.delete(f"/users/me/sessions/{current}", as_=here)).status == 204
    assert (await client.get("/users/me", as_=there)).status == 401
    assert (await client.get("/users/me", as_=here)).status == 200
    assert (await client.delete(f"/users/me/sessions/{uuid4()}", as_=here)).status == 404


async def test_a_disabled_account_is_refused_at_once_with_all_its_credentials(client: Client, callers: Callers) -> None:
    ann, admin = await callers.person("ann"), await callers.administrator()
    key = (await client.post("/api-keys", {"name": "nightly", "scopes": ["account:read"]}, as_=ann)).json()["key"]
    pair = await callers.tokens("ann@example.com")
    assert (await client.patch(f"/users/{ann.id}", {"status": "disabled"}, as_=ann)).status == 403
    assert (await client.patch(f"/users/{ann.id}", {"status": "disabled"}, as_=admin)).json()["status"] == "disabled"
    assert (await client.get("/users/me", as_=ann)).status == 401
    assert (await client.get("/users/me", headers={"x-api-key": key})).status == 401
    assert (await client.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401
    assert (await client.post("/auth/login", {"email": "ann@example.com", "password": PASSWORD})).status == 401
    assert (await client.patch(f"/users/{ann.id}", {"status": "active"}, as_=admin)).status == 200
    await callers.tokens("ann@example.com")


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": "gone"}, {"status": "active", "roles": ["admin"]}, []])
async def test_a_change_of_an_account_is_checked(client: Client, callers: Callers, body: object) -> None:
    ann = await callers.person("ann")
    assert (await client.patch(f"/users/{ann.id}", body, as_=await callers.administrator())).status == 422


async def test_roles_take_effect_with_the_next_request(client: Client, callers: Callers) -> None:
    ann, admin = await callers.person("ann"), await callers.administrator()
    assert (await client.get("/audit", as_=ann)).status == 403
    given = await client.put(f"/users/{ann.id}/roles", {"roles": ["admin"]}, as_=admin)
    assert given.json() == {"user_id": ann.id, "roles": ["admin"]}
    assert (await client.get("/audit", as_=ann)).status == 200
    await client.put(f"/users/{ann.id}/roles", {"roles": []}, as_=admin)
    assert (await client.get("/audit", as_=ann)).status == 403
    assert (await client.get("/users/me", as_=ann)).status == 200


async def test_what_can_not_be_given_is_refused(client: Client, callers: Callers) -> None:
    ann, admin = await callers.person("ann"), await callers.administrator()
    assert (await client.put(f"/users/{ann.id}/roles", {"roles": ["admin"]}, as_=ann)).status == 403
    unknown = await client.put(f"/users/{ann.id}/roles", {"roles": ["member", "king"]}, as_=admin)
    assert [error["field"] for error in unknown.json()["errors"]] == ["/roles/1"]
    assert (await client.put(f"/users/{uuid4()}/roles", {"roles": []}, as_=admin)).status == 404
    last = await client.put(f"/users/{admin.id}/roles", {"roles": []}, as_=admin)
    assert (last.status, last.code) == (409, "access.last_administrator")
    self_harm = await client.patch(f"/users/{admin.id}", {"status": "disabled"}, as_=admin)
    assert (self_harm.status, self_harm.code) == (403, "users.not_yourself")


@pytest.mark.parametrize("path", ["/users", "/roles", "/permissions", "/audit"])
async def test_administration_is_for_administrators(client: Client, callers: Callers, path: str) -> None:
    assert (await client.get(path)).status == 401
    assert (await client.get(path, as_=await callers.person("ann"))).status == 403
    listed = await client.get(path, as_=await callers.administrator())
    assert listed.status == 200
    assert set(listed.json()) == {"items", "next"}


async def test_a_key_opens_what_its_scopes_say_and_no_more(client: Client, callers: Callers) -> None:
    ann, eve = await callers.person("ann"), await callers.person("eve")
    made = await client.post("/api-keys", {"name": "nightly", "scopes": ["account:read"], "expires_in_days": 1}, as_=ann)
    assert made.status == 201
    key = made.json()
    with_key = {"x-api-key": key["key"]}
    assert (await client.get("/users/me", headers=with_key)).json()["id"] == ann.id
    for path in ("/users/me/sessions", "/api-keys", "/orders", f"/users/{ann.id}"):
        assert (await client.get(path, headers=with_key)).status == 403, path
    assert (await client.get(made.headers["location"], base="", as_=ann)).json()["prefix"] == key["prefix"]
    listed = await client.get("/api-keys", as_=ann)
    assert key["key"] not in listed.body.decode()
    assert (await client.delete(f"/api-keys/{key['id']}", as_=eve)).status == 404
    assert (await client.delete(f"/api-keys/{key['id']}", as_=ann)).status == 204
    assert (await client.get("/users/me", headers=with_key)).status == 401


async def test_a_scope_that_is_not_held_is_refused(client: Client, callers: Callers) -> None:
    ann = await callers.person("ann")
    refused = await client.post("/api-keys", {"name": "n", "scopes": ["account:read", "audit:read"]}, as_=ann)
    assert refused.status == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["/scopes/1"]


async def test_a_new_password_leaves_this_session_and_no_other(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    here, there = bearer(await callers.tokens("ann@example.com")), bearer(await callers.tokens("ann@example.com"))
    change = {"current_password": PASSWORD, "new_password": "a drawbridge, drawn up"}
    wrong = await client.post("/users/me/password", change | {"current_password": "wrong"}, as_=here)
    assert [error["field"] for error in wrong.json()["errors"]] == ["/current_password"]
    assert (await client.post("/users/me/password", change, as_=here)).status == 204
    assert (await client.get("/users/me", as_=here)).status == 200
    assert (await client.get("/users/me", as_=there)).status == 401
    await callers.tokens("ann@example.com", "a drawbridge, drawn up")


async def test_the_audit_log_shows_the_newest_first(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    admin = await callers.administrator()
    page = (await client.get("/audit?limit=100&since=2020-01-01T00:00:00Z", as_=admin)).json()
    assert page["items"][0]["at"] >= page["items"][-1]["at"]
    assert {"users.signed_up", "auth.signed_in"} <= {item["action"] for item in page["items"]}
    assert (await client.get("/audit?until=2020-01-01T00:00:00Z", as_=admin)).json() == {"items": [], "next": None}


async def test_the_link_to_the_next_page_keeps_the_bounds(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    admin = await callers.administrator()
    page = await client.get("/audit?limit=2&since=2020-01-01T00:00:00Z", as_=admin)
    assert page.status == 200
    items = page.json()["items"]
    assert len(items) == 2
    assert items[0]["address"] == "127.0.0.1"
    assert "since=2020-01-01" in page.headers["link"]
    target = page.headers["link"].partition("<")[2].partition(">")[0]
    after = await client.get(target, base="", as_=admin)
    assert not {item["id"] for item in items} & {item["id"] for item in after.json()["items"]}


@pytest.mark.parametrize("query", ["since=yesterday", "since=2020-01-01T00:00:00", "since=9999-12-31T23:59:59Z", "limit=0", "limit=101",
                                   "since=2021-01-01T00:00:00Z&until=2020-01-01T00:00:00Z", "cursor=nonsense", "who=me"])  # fmt: skip
async def test_a_wrong_stretch_of_the_log_is_refused(client: Client, callers: Callers, query: str) -> None:
    refused = await client.get(f"/audit?{query}", as_=await callers.administrator())
    assert refused.status == 422, refused.body


async def test_nothing_that_went_in_secretly_comes_out_of_the_log(client: Client, callers: Callers) -> None:
    await callers.person("marker-person")
    await client.post("/auth/login", {"email": "marker-other@example.com", "password": "marker-password"})
    log = await client.get("/audit?limit=100", as_=await callers.administrator())
    assert b"marker" not in log.body
