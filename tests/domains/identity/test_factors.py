"""Authenticator apps and recovery codes, from outside (ASVS V6.3.3, V6.5, V6.6, V7.4.3, V7.5.1)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest
from tests.domains.identity.mailbox import post
from tests.domains.identity.second_factors import App, Later, asked, bearer, enrolled, proved, step

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client

FAILED = (401, "auth.second_step_failed")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@pytest.fixture
async def ann(callers: Callers) -> Caller:
    return await callers.person("ann")


async def state(client: Client, caller: Caller) -> dict[str, Any]:
    body: dict[str, Any] = (await client.get("/users/me/mfa", as_=caller)).json()
    return body


async def test_an_app_counts_for_nothing_before_it_has_shown_a_code(client: Client, ann: Caller, later: Later) -> None:
    begun = (await client.post("/users/me/mfa", as_=ann)).json()
    assert len(begun["secret"]) == 32, "160 bits in base32"
    uri = urlsplit(begun["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/Fortress:ann@example.com"
    assert parse_qs(uri.query)["secret"] == [begun["secret"]]
    assert (await state(client, ann))["enabled"] is False
    assert (await client.post("/auth/login", {"email": ann.email, "password": PASSWORD})).status == 200
    app = App(begun, later)
    wrong = await client.post("/users/me/mfa/confirm", {"code": app.wrong()}, as_=ann)
    assert [(error["field"], error["code"]) for error in wrong.json()["errors"]] == [("/code", "mfa.wrong_code")]
    again = App((await client.post("/users/me/mfa", as_=ann)).json(), later)
    assert again.secret != app.secret
    assert (await client.post("/users/me/mfa/confirm", {"code": app.code()}, as_=ann)).status == 422


async def test_turning_it_on_shows_recovery_codes_once(client: Client, ann: Caller, later: Later) -> None:
    _, codes = await enrolled(client, ann, later)
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 24 for code in codes), "120 bits in base32"
    now = await state(client, ann)
    assert (now["enabled"], now["passkeys"], now["recovery_codes"]) == (True, 0, 10)
    refused = await client.post("/users/me/mfa/confirm", {"code": "123456"}, as_=ann)
    assert (refused.status, refused.code) == (401, "auth.second_factor_required")


async def test_a_password_alone_begins_no_session_any_more(client: Client, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    problem = await asked(client, ann)
    assert problem["methods"] == ["totp", "recovery_code"]
    assert len(problem["mfa_token"]) == 43, "256 bits"
    done = await step(client, problem["mfa_token"], app.code())
    assert done.status == 200
    me = bearer(done.json(), ann)
    assert (await client.get("/users/me", as_=me)).json()["id"] == ann.id
    sessions = (await client.get("/users/me/sessions", as_=me)).json()["items"]
    assert next(one for one in sessions if one["current"])["address"] == "127.0.0.1"


@pytest.mark.parametrize("steps", [-1, 0, 1])
async def test_a_code_of_the_step_before_or_after_is_right(client: Client, ann: Caller, later: Later, steps: int) -> None:
    app, _ = await enrolled(client, ann, later)
    later.go(timedelta(minutes=5))
    assert (await step(client, (await asked(client, ann))["mfa_token"], app.shown(steps))).status == 200


@pytest.mark.parametrize("steps", [-2, 2])
async def test_a_code_of_a_step_further_away_is_wrong(client: Client, ann: Caller, later: Later, steps: int) -> None:
    app, _ = await enrolled(client, ann, later)
    later.go(timedelta(minutes=5))
    token = (await asked(client, ann))["mfa_token"]
    # Half-way through a step, so that the test can't slip into the next one.
    later.go(timedelta(seconds=(15 - later.now().timestamp()) % 30))
    refused = await step(client, token, app.shown(steps))
    assert (refused.status, refused.code) == FAILED


async def test_a_code_is_good_once_and_no_earlier_one_after_it(client: Client, ann: Caller, later: Later) -> None:
    """ASVS V6.5.1."""
    app, _ = await enrolled(client, ann, later)
    later.go(timedelta(minutes=5))
    later.go(timedelta(seconds=(15 - later.now().timestamp()) % 30))
    code, before = app.shown(), app.shown(-1)
    tokens = [(await asked(client, ann))["mfa_token"] for _ in range(3)]
    assert (await step(client, tokens[0], code)).status == 200
    for token, used in zip(tokens[1:], (code, before), strict=True):
        refused = await step(client, token, used)
        assert (refused.status, refused.code, refused.json()["error"]) == (*FAILED, "The second step was not right.")


@pytest.mark.parametrize("kind", ["totp", "recovery"])
async def test_of_twenty_uses_of_one_code_at_once_one_succeeds(client: Client, ann: Caller, later: Later, kind: str) -> None:
    """ASVS V6.5.1."""
    app, codes = await enrolled(client, ann, later)
    tokens = [(await asked(client, ann))["mfa_token"] for _ in range(20)]
    code = app.code() if kind == "totp" else codes[3]
    replies = await asyncio.gather(*(step(client, token, code) for token in tokens))
    assert sorted(reply.status for reply in replies)[0] == 200
    assert [reply.status for reply in replies].count(200) == 1


async def test_a_recovery_code_is_good_once_in_whatever_spelling(client: Client, ann: Caller, later: Later, running: Any) -> None:
    _, codes = await enrolled(client, ann, later)
    spelt = codes[0].upper().replace("-", " ")
    assert (await step(client, (await asked(client, ann))["mfa_token"], spelt)).status == 200
    again = await step(client, (await asked(client, ann))["mfa_token"], codes[0])
    assert (again.status, again.code) == FAILED
    me = await step(client, (await asked(client, ann))["mfa_token"], codes[1])
    assert (await state(client, bearer(me.json(), ann)))["recovery_codes"] == 8


async def test_a_token_of_the_second_step_is_good_once_for_five_minutes_and_five_tries(client: Client, ann: Caller, later: Later) -> None:
    """ASVS V6.6.2, V6.6.3."""
    app, codes = await enrolled(client, ann, later)
    used = (await asked(client, ann))["mfa_token"]
    assert (await step(client, used, app.code())).status == 200
    old = (await asked(client, ann))["mfa_token"]
    later.go(timedelta(minutes=5))
    tried = (await asked(client, ann))["mfa_token"]
    for _ in range(5):
        assert (await step(client, tried, "never-was-one-of-them")).status == 401
    for token in (used, old, tried, "no-token"):
        refused = await step(client, token, codes[0])
        assert (refused.status, refused.code) == FAILED
    assert (await step(client, (await asked(client, ann))["mfa_token"], codes[0])).status == 200


async def test_a_token_of_the_second_step_is_no_other_token(client: Client, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    token = (await asked(client, ann))["mfa_token"]
    assert (await client.get("/users/me", headers={"authorization": f"Bearer {token}"})).status == 401
    assert (await client.post("/auth/refresh", {"refresh_token": token})).status == 401
    me = await proved(client, ann, app)
    access = me.headers["authorization"].removeprefix("Bearer ")
    assert (await step(client, access[:100], app.code())).status == 401


async def test_a_token_of_the_second_step_dies_with_the_password_that_it_was_given_for(client: Client, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    token = (await asked(client, ann))["mfa_token"]
    me = await proved(client, ann, app)
    change = {"current_password": PASSWORD, "new_password": "a drawbridge, drawn up"}
    assert (await client.post("/users/me/password", change, as_=me)).status == 204
    refused = await step(client, token, app.code())
    assert (refused.status, refused.code) == FAILED


async def test_a_token_of_the_second_step_dies_with_the_account(client: Client, callers: Callers, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    token = (await asked(client, ann))["mfa_token"]
    await client.patch(f"/users/{ann.id}", {"status": "disabled"}, as_=await callers.administrator())
    refused = await step(client, token, app.code())
    assert (refused.status, refused.code) == FAILED


async def test_guesses_are_counted_over_all_sign_ins_and_leave_other_ways_open(
    client: Client, ann: Caller, later: Later, running: Any
) -> None:
    """ASVS V6.3.1: nobody grinds, and nobody locks the owner out."""
    app, codes = await enrolled(client, ann, later)
    for _ in range(2):
        token = (await asked(client, ann))["mfa_token"]
        assert [(await step(client, token, app.wrong())).status for _ in range(5)] == [401] * 5
    token = (await asked(client, ann))["mfa_token"]
    waiting = await step(client, token, app.code())
    assert waiting.status == 429, "the right code is not looked at either"
    assert 10_000 < int(waiting.headers["retry-after"]) <= 3 * 3600
    assert (await step(client, token, codes[0])).status == 200
    await running.runtime.background.finish(5)
    later.go(timedelta(hours=3))
    await proved(client, ann, app)


async def test_another_person_s_code_or_recovery_code_is_wrong(client: Client, callers: Callers, ann: Caller, later: Later) -> None:
    eve = await callers.person("eve")
    app, codes = await enrolled(client, ann, later)
    await enrolled(client, eve, later)
    token = (await asked(client, eve))["mfa_token"]
    for code in (app.code(), codes[0]):
        assert (await step(client, token, code)).status == 401
    assert (await step(client, (await asked(client, ann))["mfa_token"], codes[0])).status == 200


async def test_removing_it_asks_for_itself_and_ends_other_sessions(client: Client, ann: Caller, later: Later) -> None:
    """ASVS V7.5.1, V7.4.3."""
    app, codes = await enrolled(client, ann, later)
    refused = await client.delete("/users/me/mfa", as_=ann)
    assert (refused.status, refused.code) == (401, "auth.second_factor_required")
    me, other = await proved(client, ann, app), await proved(client, ann, app)
    later.go(timedelta(minutes=6))
    stale = await client.delete("/users/me/mfa", as_=me)
    assert (stale.status, stale.code) == (401, "auth.reauthentication_required")
    me = await proved(client, ann, app)
    assert (await client.delete("/users/me/mfa", as_=me)).status == 204
    assert (await client.get("/users/me", as_=other)).status == 401
    assert await state(client, me) == {"enabled": False, "totp_since": None, "passkeys": 0, "recovery_codes": 0}
    assert (await client.post("/auth/login", {"email": ann.email, "password": PASSWORD})).status == 200
    assert (await client.delete("/users/me/mfa", as_=me)).code == "mfa.not_found"
    assert codes


async def test_new_recovery_codes_void_the_old_ones(client: Client, ann: Caller, later: Later) -> None:
    app, old = await enrolled(client, ann, later)
    me = await proved(client, ann, app)
    new = (await client.post("/users/me/mfa/recovery-codes", as_=me)).json()["recovery_codes"]
    assert not set(new) & set(old)
    token = (await asked(client, ann))["mfa_token"]
    assert (await step(client, token, old[0])).status == 401
    assert (await step(client, token, new[0])).status == 200


async def test_a_second_app_is_refused_while_there_is_one(client: Client, ann: Caller, later: Later) -> None:
    app, _ = await enrolled(client, ann, later)
    assert (await client.post("/users/me/mfa", as_=ann)).code == "auth.second_factor_required"
    refused = await client.post("/users/me/mfa", as_=await proved(client, ann, app))
    assert (refused.status, refused.code) == (409, "mfa.exists")


async def test_enrolling_wants_a_fresh_proof(client: Client, ann: Caller, later: Later) -> None:
    later.go(timedelta(minutes=16))
    refused = await client.post("/users/me/mfa", as_=ann)
    assert (refused.status, refused.code, refused.json()["max_age"]) == (401, "auth.reauthentication_required", 900)


async def test_an_api_key_changes_no_second_factor(client: Client, ann: Caller) -> None:
    refused = await client.post("/api-keys", {"name": "x", "scopes": ["account:factors"]}, as_=ann)
    assert refused.status == 422


async def test_nothing_secret_is_kept_or_told_anywhere(
    client: Client, ann: Caller, later: Later, running: Any, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """ASVS V6.5.2: hashed, or encrypted; and never in a log, a fact, an audit row or an error."""
    caplog.set_level(logging.DEBUG)
    app, codes = await enrolled(client, ann, later)
    token = (await asked(client, ann))["mfa_token"]
    wrong = app.wrong()
    said = [(await step(client, token, wrong)).body.decode(), (await step(client, "no-token", codes[5])).body.decode()]
    used = app.code()
    pair = (await step(client, token, used)).json()
    assert (await step(client, (await asked(client, ann))["mfa_token"], codes[0])).status == 200
    await running.runtime.background.finish(5)
    secret = app.secret.lower()
    markers = [secret, token.lower(), used, *(code.lower() for code in codes), *(code.replace("-", "").lower() for code in codes)]
    connection = await asyncpg.connect(database_url)
    tables = [row["tablename"] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    for table in tables:
        said += [json.dumps(dict(row), default=repr) for row in await connection.fetch(f'SELECT * FROM "{table}"')]
    raw = await connection.fetchval("SELECT secret FROM authenticators")
    await connection.close()
    text = "\n".join([*said, caplog.text]).lower()
    # Six digits are in every timestamp; they are looked for where a code would stand.
    assert [marker for marker in markers if f'"{marker}"' in text or (len(marker) > 6 and marker in text)] == []
    assert pair["access_token"] not in text
    assert base64.b32decode(app.secret) not in bytes(raw), "encrypted with the person's own key"


async def test_each_change_is_told_to_the_owner_and_the_log(
    client: Client, ann: Caller, later: Later, running: Any, callers: Callers
) -> None:
    """ASVS V6.3.7."""
    app, codes = await enrolled(client, ann, later)
    await step(client, (await asked(client, ann))["mfa_token"], codes[0])
    me = await proved(client, ann, app)
    await client.post("/users/me/mfa/recovery-codes", as_=me)
    await client.delete("/users/me/mfa", as_=me)
    await post(running)
    mails = "".join(file.read_text() for file in sorted((running.runtime.settings.state_dir / "mail").glob("*.eml")))
    for subject in ("was turned on", "was turned off", "new recovery codes", "A recovery code of yours"):
        assert subject in mails
    assert app.secret not in mails
    entries = (await client.get("/audit?limit=100", as_=await callers.administrator())).json()["items"]
    actions = {entry["action"] for entry in entries}
    assert {"factors.begun", "factors.added", "recovery_codes.used", "recovery_codes.renewed", "factors.removed"} <= actions
    events = (await client.get("/events?limit=100", as_=await callers.administrator())).status
    assert events in (200, 404)


async def test_what_is_kept_of_second_factors_goes_with_the_person(client: Client, ann: Caller, later: Later, database_url: str) -> None:
    app, _ = await enrolled(client, ann, later)
    await asked(client, ann)
    me = await proved(client, ann, app)
    exported = await client.get("/users/me/export", as_=me)
    assert exported.status == 200
    assert app.secret not in exported.body.decode()
    assert (await client.delete("/users/me", {"password": PASSWORD}, as_=me)).status == 204
    connection = await asyncpg.connect(database_url)
    left = [
        await connection.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("authenticators", "recovery_codes", "passkeys", "challenges")
    ]
    await connection.close()
    assert left == [0, 0, 0, 0]
