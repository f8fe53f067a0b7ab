"""Proving anew, from outside (ASVS V7.2.4, V7.5.3; RFC 9470), roles that ask for a second factor, and how many sessions there may be."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.domains.identity.second_factors import Later, asked, bearer, enrolled, proved
from tests.domains.identity.software_authenticator import SoftwareAuthenticator

from fortress import Fortress
from fortress.settings import Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client, Reply
from fortress.testing.plugin import ADMIN_PASSWORD

STALE = (401, "auth.reauthentication_required")
LOCKED = (401, "auth.second_factor_required")
OWN_SITE = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@pytest.fixture
async def ann(callers: Callers) -> Caller:
    return await callers.person("ann")


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.code


async def reauthenticate(client: Client, caller: Caller, **proof: Any) -> Reply:
    return await client.post("/auth/reauthenticate", proof, as_=caller)


async def test_an_old_proof_is_refused_with_what_to_do_and_a_new_one_opens(client: Client, ann: Caller, later: Later) -> None:
    later.go(timedelta(minutes=16))
    refused = await client.get("/users/me/export", as_=ann)
    assert told(refused) == STALE
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_user_authentication", max_age=900'
    assert refused.json()["max_age"] == 900
    renewed = await reauthenticate(client, ann, password=PASSWORD)
    assert renewed.status == 200, renewed.body
    me = bearer(renewed.json(), ann)
    assert (await client.get("/users/me/export", as_=me)).status == 200


async def test_the_tokens_before_it_are_dead(client: Client, callers: Callers, ann: Caller) -> None:
    """ASVS V7.2.4."""
    old = await callers.tokens(ann.email)
    renewed = (await reauthenticate(client, bearer(old, ann), password=PASSWORD)).json()
    assert renewed["access_token"] != old["access_token"]
    assert (await client.get("/users/me", as_=bearer(old, ann))).status == 401
    assert (await client.post("/auth/refresh", {"refresh_token": old["refresh_token"]})).status == 401
    assert (await client.get("/users/me", as_=bearer(renewed, ann))).status == 200
    assert (await client.post("/auth/refresh", {"refresh_token": renewed["refresh_token"]})).status == 200
    assert (await client.get("/users/me", as_=ann)).status == 200, "another session is no concern of it"


async def test_a_wrong_proof_changes_nothing_and_is_limited(client: Client, ann: Caller) -> None:
    for proof, field in (({"password": "wrong"}, "/password"), ({"code": "123456"}, "/code"), ({"code": "never-a-recovery-code"}, "/code")):
        refused = await reauthenticate(client, ann, **proof)
        assert (refused.status, [error["field"] for error in refused.json()["errors"]]) == (422, [field])
    assert (await client.get("/users/me", as_=ann)).status == 200
    statuses = [(await reauthenticate(client, ann, password="wrong")).status for _ in range(8)]
    assert statuses == [422] * 7 + [429]


@pytest.mark.parametrize("body", [{}, {"password": PASSWORD, "code": "123456"}, {"challenge_token": "A" * 43}, {"password": None}])
async def test_it_wants_one_proof(client: Client, ann: Caller, body: dict[str, Any]) -> None:
    assert (await reauthenticate(client, ann, **body)).status == 422


async def test_only_a_session_is_proved_anew(client: Client, ann: Caller) -> None:
    key = (await client.post("/api-keys", {"name": "x", "scopes": ["account:read"]}, as_=ann)).json()["key"]
    with_key = Caller("a program", headers={"x-api-key": key})
    assert (await reauthenticate(client, with_key, password=PASSWORD)).status == 403
    assert (await reauthenticate(client, Caller("nobody"), password=PASSWORD)).status == 401


async def test_whoever_has_a_second_factor_proves_it(client: Client, ann: Caller, later: Later) -> None:
    app, codes = await enrolled(client, ann, later)
    assert told(await reauthenticate(client, ann, password=PASSWORD)) == LOCKED, "a password proves too little of them"
    assert told(await client.delete("/users/me/mfa", as_=ann)) == LOCKED
    raised = await reauthenticate(client, ann, code=app.code())
    assert raised.status == 200, raised.body
    me = bearer(raised.json(), ann)
    later.go(timedelta(minutes=6))
    assert told(await client.delete("/users/me/mfa", as_=me)) == STALE
    again = await reauthenticate(client, me, code=codes[0])
    assert again.status == 200
    assert (await reauthenticate(client, bearer(again.json(), ann), code=codes[0])).status == 422, "used"
    assert (await client.delete("/users/me/mfa", as_=bearer(again.json(), ann))).status == 204


async def test_a_passkey_proves_it_too(client: Client, callers: Callers, ann: Caller) -> None:
    key = SoftwareAuthenticator()
    made = key.make((await client.post("/users/me/passkeys/options", as_=ann)).json()["options"])
    view = (await client.post("/users/me/passkeys", {"name": "key", "credential": made}, as_=ann)).json()
    path = f"/users/me/passkeys/{view['id']}"
    assert told(await client.delete(path, as_=ann)) == LOCKED
    asked_of = (await client.post("/auth/reauthenticate/passkey/options", as_=ann)).json()
    answer = {"challenge_token": asked_of["challenge_token"], "credential": key.answer(asked_of["options"])}
    eve = await callers.person("eve")
    assert (await reauthenticate(client, eve, **answer)).status == 422
    assert (await reauthenticate(client, ann, **answer)).status == 422, "her trying it has used it up"
    assert told(await client.post("/auth/reauthenticate/passkey/options", as_=eve)) == (404, "mfa.not_found")
    asked_of = (await client.post("/auth/reauthenticate/passkey/options", as_=ann)).json()
    answer = {"challenge_token": asked_of["challenge_token"], "credential": key.answer(asked_of["options"])}
    raised = await reauthenticate(client, ann, **answer)
    assert raised.status == 200, raised.body
    assert (await client.delete(path, as_=bearer(raised.json(), ann))).status == 204


async def test_of_twenty_that_prove_anew_at_once_one_goes_on(client: Client, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    code = app.code()
    replies = await asyncio.gather(*(reauthenticate(client, ann, code=code) for _ in range(20)))
    assert [reply.status for reply in replies].count(200) == 1
    assert {reply.status for reply in replies} <= {200, 401, 422, 429}


async def test_a_session_in_cookies_goes_on_in_cookies(client: Client, ann: Caller, later: Later) -> None:
    begun = await client.post("/auth/login", {"email": ann.email, "password": PASSWORD, "session": "cookie"}, headers=OWN_SITE)
    assert begun.status == 200, begun.body
    page = cookies_of(begun) | OWN_SITE
    assert (await client.get("/users/me", headers=page)).status == 200
    refused = await client.post("/auth/reauthenticate", {"password": PASSWORD}, headers={**page, "x-csrf-token": "no"})
    assert refused.status == 403
    csrf = {"x-csrf-token": begun.json()["csrf_token"]}
    renewed = await client.post("/auth/reauthenticate", {"password": PASSWORD}, headers=page | csrf)
    assert renewed.status == 200, renewed.body
    assert set(renewed.json()) == {"token_type", "expires_in", "csrf_token"}
    assert (await client.get("/users/me", headers=page)).status == 401
    assert (await client.get("/users/me", headers=cookies_of(renewed) | OWN_SITE)).status == 200


def cookies_of(reply: Reply) -> dict[str, str]:
    """What a browser sends after this answer."""
    set_ = [value.decode().partition(";")[0] for name, value in reply.raw_headers if name == b"set-cookie"]
    return {"cookie": "; ".join(set_)}


async def test_a_second_step_can_end_in_cookies(client: Client, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    body = {"mfa_token": (await asked(client, ann))["mfa_token"], "code": app.code(), "session": "cookie"}
    done = await client.post("/auth/mfa", body, headers=OWN_SITE)
    assert done.status == 200, done.body
    assert "access_token" not in done.json()
    assert (await client.get("/users/me", headers=cookies_of(done) | OWN_SITE)).status == 200


async def test_a_role_made_to_ask_for_a_second_factor_is_locked_without_it(
    client: Client, callers: Callers, ann: Caller, later: Later
) -> None:
    """ASVS V6.3.3."""
    admin = await callers.administrator()
    role = {"name": "auditor", "title": "Reads the log", "grants": ["audit:read"], "second_factor": True}
    assert (await client.post("/roles", role, as_=admin)).status == 201
    assert (await client.put(f"/users/{ann.id}/roles", {"roles": ["auditor"]}, as_=admin)).status == 200
    refused = await client.get("/audit", as_=ann)
    assert told(refused) == LOCKED
    assert refused.json()["factors"] == 2
    assert (await client.get("/users/me", as_=ann)).status == 200
    app, _ = await enrolled(client, ann, later)
    assert told(await client.get("/audit", as_=ann)) == LOCKED, "turning one on proves nothing of the session that was there"
    assert (await client.get("/audit", as_=await proved(client, ann, app))).status == 200
    assert (await client.get("/audit", as_=bearer((await reauthenticate(client, ann, code=app.code())).json(), ann))).status == 200
    eve = await callers.person("eve")
    assert (await client.get("/audit", as_=eve)).status == 403


class TestAdministrators:
    """The built-in role, where the settings have it ask for a second factor."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"admin_second_factor": True, "sessions_per_user": 3})

    async def test_they_administer_after_a_second_factor(self, client: Client, callers: Callers, later: Later) -> None:
        admin = await callers.administrator()
        assert told(await client.get("/users", as_=admin)) == LOCKED
        app = (await enrolled(client, admin, later))[0]
        assert told(await client.get("/users", as_=admin)) == LOCKED
        raised = bearer((await reauthenticate(client, admin, code=app.code())).json(), admin)
        assert (await client.get("/users", as_=raised)).status == 200

    async def test_one_session_too_many_ends_the_oldest(self, client: Client, callers: Callers, ann: Caller) -> None:
        """ASVS V7.1.2."""
        others = [bearer(await callers.tokens(ann.email), ann) for _ in range(2)]
        assert (await client.get("/users/me", as_=ann)).status == 200
        newest = bearer(await callers.tokens(ann.email), ann)
        assert (await client.get("/users/me", as_=ann)).status == 401
        assert [(await client.get("/users/me", as_=one)).status for one in (*others, newest)] == [200] * 3
        await asyncio.gather(*(callers.tokens(ann.email) for _ in range(6)))
        last = bearer(await callers.tokens(ann.email), ann)
        assert len((await client.get("/users/me/sessions", as_=last)).json()["items"]) == 3


async def test_the_document_tells_what_is_asked_of_a_proof(client: Client, running: Fortress) -> None:
    document = (await client.get("/openapi.json")).json()
    removing = document["paths"]["/users/me/mfa"]["delete"]
    assert (removing["x-fresh"], removing["x-factor"]) == (300, 2)
    for code in ("auth.reauthentication_required", "auth.second_factor_required"):
        assert code in removing["responses"]["401"]["description"]
    reading = document["paths"]["/users/me"]["get"]
    assert "x-fresh" not in reading
    assert "auth.reauthentication_required" not in reading["responses"]["401"]["description"]
    assert "auth.mfa_required" in document["paths"]["/auth/login"]["post"]["responses"]["403"]["description"]


async def test_roles_are_given_only_with_a_fresh_proof(client: Client, callers: Callers, ann: Caller, later: Later) -> None:
    """ASVS V7.5.3: a session that was left open gives nobody more than they have."""
    admin = await callers.administrator()
    given = {"roles": ["member", "clerk"]}
    assert (await client.put(f"/users/{ann.id}/roles", given, as_=admin)).status == 200
    later.go(timedelta(minutes=16))
    assert told(await client.put(f"/users/{ann.id}/roles", {"roles": ["member"]}, as_=admin)) == STALE
    renewed = await reauthenticate(client, admin, password=ADMIN_PASSWORD)
    assert (await client.put(f"/users/{ann.id}/roles", {"roles": ["member"]}, as_=bearer(renewed.json(), admin))).status == 200
