"""Passkeys, from outside, with a software authenticator and hostile ones (WebAuthn Level 3 §7; ASVS V6.3.3, V6.5.7)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.domains.identity.mailbox import post
from tests.domains.identity.second_factors import Later, asked, bearer, enrolled, proved, step
from tests.domains.identity.software_authenticator import SoftwareAuthenticator

from fortress.security.encoding import from_base64url, to_base64url
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client, Reply

INVALID = (401, "auth.invalid_passkey")
EMPTY = {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}
GARBAGE = (b"", b"{", b"{}", b"[]", b"null", b"\xff\xfe", b'{"challenge": 1}', b'{"challenge": "' + b"A" * 43 + b'"}')
FAILED = (401, "auth.second_step_failed")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@pytest.fixture
async def ann(callers: Callers) -> Caller:
    return await callers.person("ann")


async def options(client: Client, caller: Caller) -> dict[str, Any]:
    asked_of = await client.post("/users/me/passkeys/options", as_=caller)
    assert asked_of.status == 200, asked_of.body
    found: dict[str, Any] = asked_of.json()["options"]
    return found


async def add(client: Client, caller: Caller, key: SoftwareAuthenticator, name: str = "phone", **more: Any) -> Reply:
    credential = key.make(await options(client, caller), **more)
    return await client.post("/users/me/passkeys", {"name": name, "credential": credential}, as_=caller)


async def added(client: Client, caller: Caller, **how: Any) -> tuple[SoftwareAuthenticator, dict[str, Any]]:
    """A passkey of the caller's, and what they were told of it."""
    key = SoftwareAuthenticator(**how)
    made = await add(client, caller, key)
    assert made.status == 201, made.body
    return key, made.json()


async def question(client: Client) -> dict[str, Any]:
    reply = await client.post("/auth/passkey/options")
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json()
    return found


async def sign_in(client: Client, key: SoftwareAuthenticator, **how: Any) -> Reply:
    asked_of = await question(client)
    body = {"challenge_token": asked_of["challenge_token"], "credential": key.answer(asked_of["options"], **how)}
    return await client.post("/auth/passkey", body)


async def signed_in(client: Client, key: SoftwareAuthenticator, caller: Caller) -> Caller:
    reply = await sign_in(client, key)
    assert reply.status == 200, reply.body
    return bearer(reply.json(), caller)


async def test_options_ask_for_a_passkey_that_checks_its_user_and_names_nobody(client: Client, ann: Caller) -> None:
    asked_of = await options(client, ann)
    assert asked_of["rp"] == {"id": "localhost", "name": "Fortress"}
    assert asked_of["authenticatorSelection"]["userVerification"] == "required"
    assert asked_of["authenticatorSelection"]["residentKey"] == "preferred"
    assert asked_of["attestation"] == "none"
    assert [one["alg"] for one in asked_of["pubKeyCredParams"]] == [-8, -7], "no PKCS#1 v1.5"
    handle = from_base64url(asked_of["user"]["id"])
    assert len(handle) == 32
    assert ann.id.replace("-", "") not in handle.hex()
    assert len(from_base64url(asked_of["challenge"])) == 32


@pytest.mark.parametrize("ed25519", [True, False])
async def test_a_passkey_is_a_whole_sign_in_of_two_factors(client: Client, ann: Caller, ed25519: bool) -> None:
    key, view = await added(client, ann, ed25519=ed25519, synced=True, backed_up=True)
    assert (view["name"], view["synced"], view["backed_up"]) == ("phone", True, True)
    assert len(view["recovery_codes"]) == 10, "the first second factor brings them"
    asked_of = await question(client)
    assert "allowCredentials" not in asked_of["options"] or asked_of["options"]["allowCredentials"] == []
    me = await signed_in(client, key, ann)
    assert (await client.get("/users/me", as_=me)).json()["id"] == ann.id
    # What asks for a second factor is open at once.
    assert (await client.post("/users/me/mfa/recovery-codes", as_=me)).status == 200


async def test_a_passkey_can_be_the_second_step_after_a_password(client: Client, ann: Caller) -> None:
    key, _ = await added(client, ann)
    problem = await asked(client, ann)
    assert problem["methods"] == ["passkey", "recovery_code"]
    token = problem["mfa_token"]
    asked_of = (await client.post("/auth/mfa/passkey/options", {"mfa_token": token})).json()
    assert [one["id"] for one in asked_of["options"]["allowCredentials"]] == [to_base64url(key.id)]
    body = {"mfa_token": token, "challenge_token": asked_of["challenge_token"], "credential": key.answer(asked_of["options"])}
    done = await client.post("/auth/mfa/passkey", body)
    assert done.status == 200, done.body
    for again in (body, body | {"challenge_token": "A" * 43}):
        refused = await client.post("/auth/mfa/passkey", again)
        assert (refused.status, refused.code) == FAILED


async def test_a_second_step_takes_no_other_person_s_passkey_and_no_other_question(client: Client, callers: Callers, ann: Caller) -> None:
    eve = await callers.person("eve")
    key, _ = await added(client, ann)
    hers, _ = await added(client, eve)
    tokens = [(await asked(client, who))["mfa_token"] for who in (ann, ann, eve)]
    questions = [(await client.post("/auth/mfa/passkey/options", {"mfa_token": token})).json() for token in tokens]
    alone = await question(client)

    async def tried(token: str, asked_of: dict[str, Any], who: SoftwareAuthenticator) -> tuple[int, str]:
        given = asked_of["options"] | {"rpId": "localhost"}
        body = {"mfa_token": token, "challenge_token": asked_of["challenge_token"], "credential": who.answer(given)}
        reply = await client.post("/auth/mfa/passkey", body)
        return reply.status, reply.code if reply.status != 200 else ""

    assert await tried(tokens[0], questions[0], hers) == FAILED, "another person's passkey"
    assert await tried(tokens[0], questions[1], key) == FAILED, "another second step's question"
    assert await tried(tokens[0], questions[2], hers) == FAILED, "another person's question"
    assert await tried(tokens[0], alone, key) == FAILED, "a question for signing in"
    fresh = (await client.post("/auth/mfa/passkey/options", {"mfa_token": tokens[0]})).json()
    assert await tried(tokens[0], fresh, key) == (200, "")


@pytest.mark.parametrize(
    "hostile",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8000.evil.example"},
        {"origin": "http://127.0.0.1:8000"},
        {"rp_id": "evil.example"},
        {"verifies": False},
        {"present": False},
        {"cross_origin": True},
        {"backed_up": True},
    ],
    ids=str,
)
async def test_hostile_registrations_are_refused(client: Client, ann: Caller, hostile: dict[str, Any]) -> None:
    refused = await add(client, ann, SoftwareAuthenticator(**hostile))
    assert refused.status == 422, refused.body
    assert [(error["field"], error["code"]) for error in refused.json()["errors"]] == [("/credential", "passkeys.refused")]
    assert (await client.get("/users/me/passkeys", as_=ann)).json()["items"] == []


async def test_a_registration_answers_its_own_question_once(client: Client, callers: Callers, ann: Caller, later: Later) -> None:
    eve = await callers.person("eve")
    key = SoftwareAuthenticator()
    used = key.make(await options(client, ann))
    assert (await client.post("/users/me/passkeys", {"name": "x", "credential": used}, as_=ann)).status == 201
    others = SoftwareAuthenticator().make(await options(client, eve))
    alone = await question(client)
    old = SoftwareAuthenticator().make(await options(client, eve))
    wrong_kind = SoftwareAuthenticator().make(await options(client, eve), kind="webauthn.get")
    sign_ins = SoftwareAuthenticator().make(await options(client, eve), challenge=alone["options"]["challenge"])
    made_up = SoftwareAuthenticator().make(await options(client, eve), challenge=to_base64url(bytes(32)))
    for credential in (others, used):
        refused = await client.post("/users/me/passkeys", {"name": "x", "credential": credential}, as_=await callers.person())
        assert refused.status == 422
    for credential in (others, wrong_kind, sign_ins, made_up):
        assert (await client.post("/users/me/passkeys", {"name": "x", "credential": credential}, as_=eve)).status == 422
    later.go(timedelta(minutes=5))
    assert (await client.post("/users/me/passkeys", {"name": "x", "credential": old}, as_=eve)).status == 422


async def test_a_passkey_belongs_to_one_account(client: Client, callers: Callers, ann: Caller) -> None:
    key, _ = await added(client, ann)
    refused = await add(client, await callers.person("eve"), key)
    assert (refused.status, refused.code) == (409, "passkeys.taken")
    assert to_base64url(key.id) not in refused.body.decode()


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://evil.example"},
        {"rp_id": "evil.example"},
        {"verifies": False},
        {"present": False},
        {"cross_origin": True},
        {"synced": True},
        {"handle": b"somebody else's"},
        {"handle": b""},
        {"id": b"never registered"},
    ],
    ids=str,
)
async def test_hostile_answers_sign_nobody_in(client: Client, ann: Caller, change: dict[str, Any]) -> None:
    key, _ = await added(client, ann)
    before = {name: getattr(key, name) for name in change}
    for name, value in change.items():
        setattr(key, name, value)
    refused = await sign_in(client, key)
    assert (refused.status, refused.code) == INVALID, refused.body
    for name, value in before.items():
        setattr(key, name, value)
    assert (await sign_in(client, key)).status == 200


async def test_answers_of_another_kind_or_question_sign_nobody_in(client: Client, ann: Caller) -> None:
    key, _ = await added(client, ann)
    other = await question(client)
    assert (await sign_in(client, key, kind="webauthn.create")).status == 401
    assert (await sign_in(client, key, challenge=other["options"]["challenge"])).status == 401
    assert (await sign_in(client, key, challenge=to_base64url(bytes(32)))).status == 401
    assert (await sign_in(client, key)).status == 200


async def test_a_tampered_answer_signs_nobody_in(client: Client, ann: Caller) -> None:
    key, _ = await added(client, ann)
    for member in ("signature", "authenticatorData", "clientDataJSON"):
        asked_of = await question(client)
        credential = key.answer(asked_of["options"])
        raw = bytearray(from_base64url(credential["response"][member]))
        raw[-3] ^= 1
        credential["response"][member] = to_base64url(bytes(raw))
        refused = await client.post("/auth/passkey", {"challenge_token": asked_of["challenge_token"], "credential": credential})
        assert (refused.status, refused.code) == INVALID, member
    another = SoftwareAuthenticator(id=key.id, handle=key.handle, count=100)
    assert (await sign_in(client, another)).status == 401, "the right name, another key"


async def test_of_twenty_answers_to_one_question_at_once_one_succeeds(client: Client, ann: Caller) -> None:
    key, _ = await added(client, ann)
    asked_of = await question(client)
    body = {"challenge_token": asked_of["challenge_token"], "credential": key.answer(asked_of["options"])}
    replies = await asyncio.gather(*(client.post("/auth/passkey", body) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [200] + [401] * 19


async def test_a_question_is_good_for_five_minutes(client: Client, ann: Caller, later: Later) -> None:
    key, _ = await added(client, ann)
    asked_of = await question(client)
    later.go(timedelta(minutes=5))
    body = {"challenge_token": asked_of["challenge_token"], "credential": key.answer(asked_of["options"])}
    refused = await client.post("/auth/passkey", body)
    assert (refused.status, refused.code) == INVALID


async def test_a_counter_that_goes_back_is_refused_and_told(client: Client, ann: Caller, callers: Callers, running: Any) -> None:
    key, view = await added(client, ann)
    key.count = 10
    assert (await sign_in(client, key)).status == 200
    for count in (10, 4):
        key.count = count
        refused = await sign_in(client, key)
        assert (refused.status, refused.code) == INVALID, "the same count again, or one before it"
    entries = (await client.get("/audit?limit=100", as_=await callers.administrator())).json()["items"]
    told = [entry for entry in entries if entry["action"] == "passkeys.counter_went_back"]
    assert [(entry["target"], entry["detail"]) for entry in told] == [
        (view["id"], {"known": 11, "came": 5}),
        (view["id"], {"known": 11, "came": 11}),
    ]
    await post(running)
    mails = "".join(file.read_text() for file in (running.runtime.settings.state_dir / "mail").glob("*.eml"))
    assert mails.count("was refused\n") >= 1


async def test_a_passkey_without_a_counter_works_again_and_again(client: Client, ann: Caller) -> None:
    key, _ = await added(client, ann, step=0)
    assert [(await sign_in(client, key)).status for _ in range(3)] == [200] * 3


async def test_passkeys_are_listed_renamed_and_removed_by_their_owner(client: Client, callers: Callers, ann: Caller) -> None:
    eve = await callers.person("eve")
    key, view = await added(client, ann)
    me = await signed_in(client, key, ann)
    other = await signed_in(client, key, ann)
    path = f"/users/me/passkeys/{view['id']}"
    listed = (await client.get("/users/me/passkeys", as_=me)).json()
    assert [(one["id"], one["name"]) for one in listed["items"]] == [(view["id"], "phone")]
    assert listed["items"][0]["used_at"] is not None
    assert "recovery_codes" not in listed["items"][0]
    for call in (client.get(path, as_=eve), client.patch(path, {"name": "mine"}, as_=eve)):
        assert (await call).status == 404
    assert (await client.patch(path, {"name": "telephone"}, as_=me)).json()["name"] == "telephone"
    assert (await client.get(path, as_=me)).json()["name"] == "telephone"
    refused = await client.delete(path, as_=ann)
    assert (refused.status, refused.code) == (401, "auth.second_factor_required")
    assert (await client.delete(path, as_=me)).status == 204
    assert (await client.get("/users/me", as_=other)).status == 401
    assert (await sign_in(client, key)).status == 401
    assert (await client.post("/auth/login", {"email": ann.email, "password": PASSWORD})).status == 200
    assert (await client.get("/users/me/mfa", as_=me)).json()["recovery_codes"] == 0


async def test_removing_wants_a_fresh_proof(client: Client, ann: Caller, later: Later) -> None:
    key, view = await added(client, ann)
    me = await signed_in(client, key, ann)
    later.go(timedelta(minutes=6))
    refused = await client.delete(f"/users/me/passkeys/{view['id']}", as_=me)
    assert (refused.status, refused.code) == (401, "auth.reauthentication_required")


async def test_the_last_way_in_stays(client: Client, ann: Caller, database_url: str) -> None:
    first, one = await added(client, ann)
    me = await signed_in(client, first, ann)
    second, two = SoftwareAuthenticator(), await options(client, me)
    assert [entry["id"] for entry in two["excludeCredentials"]] == [to_base64url(first.id)]
    made = await client.post("/users/me/passkeys", {"name": "second", "credential": second.make(two)}, as_=me)
    assert made.status == 201
    assert made.json()["recovery_codes"] == []
    assert second.handle == first.handle, "one handle for one person"
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ann.id)
    await connection.close()
    assert (await client.delete(f"/users/me/passkeys/{one['id']}", as_=me)).status == 204
    refused = await client.delete(f"/users/me/passkeys/{made.json()['id']}", as_=me)
    assert (refused.status, refused.code) == (409, "users.last_way_in")
    assert (await sign_in(client, second)).status == 200


async def test_of_two_last_ways_in_that_go_at_once_one_stays(client: Client, ann: Caller, database_url: str) -> None:
    first, one = await added(client, ann)
    me = await signed_in(client, first, ann)
    two = (await add(client, me, SoftwareAuthenticator())).json()
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ann.id)
    replies = await asyncio.gather(*(client.delete(f"/users/me/passkeys/{view['id']}", as_=me) for view in (one, two)))
    left = await connection.fetchval("SELECT count(*) FROM passkeys")
    await connection.close()
    assert sorted(reply.status for reply in replies) == [204, 409]
    assert left == 1


async def test_an_app_and_a_passkey_stand_beside_each_other(client: Client, ann: Caller, later: Later) -> None:
    app, codes = await enrolled(client, ann, later)
    refused = await client.post("/users/me/passkeys/options", as_=ann)
    assert (refused.status, refused.code) == (401, "auth.second_factor_required"), "a factor is added by who has proved the one there is"
    me = await proved(client, ann, app)
    key = SoftwareAuthenticator()
    assert (await add(client, me, key)).json()["recovery_codes"] == []
    assert (await asked(client, ann))["methods"] == ["totp", "passkey", "recovery_code"]
    me = await signed_in(client, key, ann)
    assert (await client.delete("/users/me/mfa", as_=me)).status == 204
    state = (await client.get("/users/me/mfa", as_=me)).json()
    assert (state["enabled"], state["recovery_codes"]) == (True, 10)
    assert (await step(client, (await asked(client, ann))["mfa_token"], codes[0])).status == 200


async def test_a_disabled_account_s_passkey_signs_nobody_in(client: Client, callers: Callers, ann: Caller) -> None:
    key, _ = await added(client, ann)
    await client.patch(f"/users/{ann.id}", {"status": "disabled"}, as_=await callers.administrator())
    refused = await sign_in(client, key)
    assert (refused.status, refused.code) == INVALID


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"id": "a", "rawId": "a", "type": "public-key", "response": {}},
        {
            "id": "%%",
            "rawId": "a",
            "type": "public-key",
            "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"},
        },
        {"id": "a", "rawId": "a", "type": "password", "response": EMPTY},
    ],
)
async def test_what_is_no_credential_is_told_so(client: Client, credential: dict[str, Any]) -> None:
    refused = await client.post("/auth/passkey", {"challenge_token": "A" * 43, "credential": credential})
    assert refused.status == 422


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_in_a_credential_is_refused_and_no_fault(client: Client, ann: Caller, garbage: bytes) -> None:
    key, _ = await added(client, ann)
    asked_of = await question(client)
    for member in ("clientDataJSON", "authenticatorData", "signature"):
        credential = key.answer(asked_of["options"])
        credential["response"][member] = to_base64url(garbage) or "AA"
        refused = await client.post("/auth/passkey", {"challenge_token": asked_of["challenge_token"], "credential": credential})
        assert refused.status == 401, member
        asked_of = await question(client)
    me = await signed_in(client, key, ann)
    for member in ("clientDataJSON", "attestationObject"):
        credential = SoftwareAuthenticator().make(await options(client, me))
        credential["response"][member] = to_base64url(garbage) or "AA"
        assert (await client.post("/users/me/passkeys", {"name": "x", "credential": credential}, as_=me)).status == 422
