"""Signing in with others: whole flows against an issuer that keeps the rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr
from tests.domains.identity.mailbox import post
from tests.domains.identity.second_factors import App, Later
from tests.providers.browser import Browser
from tests.providers.hostile import CLIENT_ID, CLIENT_SECRET, Issuer, listening

from fortress import Fortress
from fortress.domains.identity.rest.flow_cookie import FlowCookie
from fortress.settings import ProviderSettings, Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client, Reply

ELSEWHERE = [
    *("//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\\/evil.example", "/\tevil", "/ /evil.example"),
    *("https://evil.example", "https:evil.example", "HTTPS://evil.example", "http://127.0.0.1@evil.example/", "ftp://evil.example"),
    *("javascript:alert(1)", "data:text/html,x", "/\r\nlocation: https://evil.example", "/\u2028evil", "/evil\x7f"),
    *("/welcome/", "/WELCOME", "welcome", ".evil.example", "/welcome?x=//evil.example", "/welcome#x", "//127.0.0.1/welcome"),
    *("/%2f/evil.example", "/%5cevil.example", "/welcome/../..//evil.example", "/welcome%00", "/./welcome", "/welcome;x"),
]


def configured(**given: Any) -> ProviderSettings:
    return ProviderSettings(client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), client_auth="post", **given)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with listening() as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[Issuer]:
    async with listening() as made:
        yield made


@pytest.fixture
def settings(settings: Settings, issuer: Issuer, other: Issuer) -> Settings:
    providers = {
        "acme": configured(kind="oidc", issuer=issuer.url, title="Acme"),
        "other": configured(kind="oidc", issuer=other.url),
        "hub": configured(kind="github", address=issuer.url),
        "trusted": configured(kind="oidc", issuer=issuer.url, trust_factors=True, acr_values=("strong",)),
    }
    return settings.model_copy(update={"providers": providers, "return_paths": ("/", "/welcome"), "log_level": "debug"})


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(client)


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def query_of(returned: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in returned.items())


def bearer(pair: dict[str, Any]) -> Caller:
    return Caller("somebody", headers={"authorization": f"Bearer {pair['access_token']}"})


async def signed_in(browser: Browser, issuer: Issuer, name: str = "acme") -> Reply:
    return await browser.complete(issuer.authorize(await browser.start(name)), name)


async def linked(browser: Browser, issuer: Issuer, person: Caller, name: str = "acme") -> Reply:
    begun = await browser.post(f"/users/me/providers/{name}/start", {}, as_=person)
    assert begun.status == 200, begun.body
    returned = issuer.authorize(begun.json()["authorization_url"])
    return await browser.post(f"/users/me/providers/{name}/complete", returned, as_=person)


async def test_whom_one_can_sign_in_with_is_no_secret(client: Client) -> None:
    listed = (await client.get("/auth/providers")).json()
    assert listed == [
        {"name": "acme", "title": "Acme"},
        {"name": "other", "title": "other"},
        {"name": "hub", "title": "GitHub"},
        {"name": "trusted", "title": "trusted"},
    ]


async def test_the_question_has_what_it_must_and_the_scopes_of_the_settings(browser: Browser, issuer: Issuer) -> None:
    """ASVS V10.1.2, V10.2.1, V10.2.3."""
    url = await browser.start()
    asked = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{issuer.url}/authorize?")
    assert asked["scope"] == ["openid email"]
    assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == (["code"], ["S256"], [CLIENT_ID])
    assert asked["redirect_uri"] == ["http://127.0.0.1:8000/api/v1/auth/providers/acme/callback"]
    assert all(len(asked[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))
    again = parse_qs(urlsplit(await browser.start()).query)
    assert all(asked[name] != again[name] for name in ("state", "nonce", "code_challenge"))
    (kept,) = [value.decode() for name, value in browser.seen[0].raw_headers if name == b"set-cookie"]
    assert kept.endswith("Max-Age=600; Path=/; HttpOnly; SameSite=Lax")


async def test_a_stranger_gets_an_account_and_comes_back_to_it(
    browser: Browser, issuer: Issuer, client: Client, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    first = await signed_in(browser, issuer)
    assert first.status == 200, first.body
    me = (await client.get("/users/me", as_=bearer(first.json()))).json()
    assert (me["email"], me["roles"]) == ("ann@example.com", ["member", "customer"])
    second = await signed_in(browser, issuer)
    assert (await client.get("/users/me", as_=bearer(second.json()))).json()["id"] == me["id"]
    (mine,) = (await client.get("/users/me/identities", as_=bearer(second.json()))).json()
    assert mine["provider"] == "acme"
    assert (await rows.fetchval("SELECT password_hash FROM users ORDER BY created_at DESC LIMIT 1")) is None
    logged = [row["action"] for row in await rows.fetch("SELECT action FROM audit_log ORDER BY tx, seq")]
    assert {"users.signed_up", "identities.linked", "auth.signed_in"} <= set(logged)


async def test_an_address_that_has_an_account_opens_nothing(browser: Browser, issuer: Issuer, callers: Callers) -> None:
    """ASVS V6.8.1: nothing is linked without proof of the account."""
    ann = await callers.person("ann")
    refused = await signed_in(browser, issuer)
    assert (refused.status, refused.code) == (409, "auth.account_exists")
    assert (await browser.get("/users/me/identities", as_=ann)).json() == []


async def test_an_identity_is_linked_by_its_owner_and_opens_the_account_then(
    browser: Browser, issuer: Issuer, callers: Callers, client: Client
) -> None:
    ann = await callers.person("ann")
    assert (await linked(browser, issuer, ann)).status == 200
    pair = (await signed_in(browser, issuer)).json()
    assert (await client.get("/users/me", as_=bearer(pair))).json()["id"] == ann.id
    assert (await linked(browser, issuer, await callers.person("eve"))).code == "identities.taken"


async def test_the_same_subject_and_address_at_two_issuers_are_two_identities(browser: Browser, issuer: Issuer, other: Issuer) -> None:
    """ASVS V6.8.1."""
    assert (await signed_in(browser, issuer)).status == 200
    assert (await signed_in(browser, other, "other")).code == "auth.account_exists"


async def test_an_unverified_address_makes_no_account_but_can_be_linked(browser: Browser, issuer: Issuer, callers: Callers) -> None:
    issuer.person["email_verified"] = False
    refused = await signed_in(browser, issuer)
    assert (refused.status, refused.code) == (403, "auth.provider_email_unverified")
    assert (await linked(browser, issuer, await callers.person("ann"))).status == 200
    assert (await signed_in(browser, issuer)).status == 200


async def test_only_true_is_true(browser: Browser, issuer: Issuer) -> None:
    for said in ("true", 1, None, [True]):
        issuer.person["email_verified"] = said
        assert (await signed_in(browser, issuer)).code == "auth.provider_email_unverified"


async def test_what_the_id_token_leaves_out_is_asked_for(browser: Browser, issuer: Issuer) -> None:
    issuer.metadata["userinfo_endpoint"] = f"{issuer.url}/userinfo"
    issuer.claims = lambda claims: {name: value for name, value in claims.items() if not name.startswith("email")}
    assert (await signed_in(browser, issuer)).status == 200
    assert issuer.asked["/userinfo"] == 1


async def test_github_has_no_id_token_and_a_list_of_addresses(browser: Browser, issuer: Issuer, client: Client) -> None:
    pair = (await signed_in(browser, issuer, "hub")).json()
    assert (await client.get("/users/me", as_=bearer(pair))).json()["email"] == "ann@example.com"
    issuer.person |= {"email": "new@example.com", "email_verified": False}
    assert (await signed_in(browser, issuer, "hub")).status == 200, "known by its id, whatever its address"


async def test_github_without_a_verified_primary_address_makes_no_account(browser: Browser, issuer: Issuer) -> None:
    issuer.person["email_verified"] = False
    assert (await signed_in(browser, issuer, "hub")).code == "auth.provider_email_unverified"


async def test_a_disabled_account_stays_closed(browser: Browser, issuer: Issuer, callers: Callers, client: Client) -> None:
    ann = await callers.person("ann")
    await linked(browser, issuer, ann)
    disabled = await client.patch(f"/users/{ann.id}", {"status": "disabled"}, as_=await callers.administrator())
    assert disabled.status == 200
    refused = await signed_in(browser, issuer)
    assert (refused.status, refused.code) == (403, "auth.account_unusable")


async def test_two_windows_of_one_browser_do_not_disturb_each_other(browser: Browser, issuer: Issuer) -> None:
    first, second = await browser.start(), await browser.start()
    assert (await browser.complete(issuer.authorize(first))).status == 200
    assert (await browser.complete(issuer.authorize(second))).status == 200


async def test_a_stranger_who_comes_twice_at_once_gets_one_account(
    browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    before = await rows.fetchval("SELECT count(*) FROM users")
    returned = [issuer.authorize(await browser.start()) for _ in range(5)]
    replies = await asyncio.gather(*(browser.complete(one) for one in returned))
    assert {reply.status for reply in replies} == {200}
    assert await rows.fetchval("SELECT count(*) FROM users") == before + 1


@pytest.mark.parametrize(
    ("name", "claims", "factors"),
    [
        ("acme", {"amr": ["pwd", "mfa"], "acr": "strong"}, 1),
        ("trusted", {"amr": ["pwd", "mfa"]}, 2),
        ("trusted", {"acr": "strong"}, 2),
        ("trusted", {"acr": "weak", "amr": ["pwd"]}, 1),
    ],
)
async def test_a_second_factor_elsewhere_counts_only_where_it_is_trusted(
    browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record], name: str, claims: dict[str, Any], factors: int
) -> None:
    """ASVS V6.8.4."""
    issuer.person |= claims
    assert (await signed_in(browser, issuer, name)).status == 200
    assert await rows.fetchval("SELECT factors FROM sessions ORDER BY created_at DESC LIMIT 1") == factors


async def test_the_callback_ends_at_a_path_of_ours_with_the_session_in_cookies(
    browser: Browser, issuer: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    """ASVS V14.2.1: no token is in any address, nor code and state in any log."""
    returned = issuer.authorize(await browser.start(redirect_to="/welcome"))
    reply = await browser.get(f"/auth/providers/acme/callback?{query_of(returned | {'scope': 'openid', 'hd': 'x'})}")
    assert (reply.status, reply.headers["location"], reply.body) == (303, "/welcome", b"")
    assert {"fortress-access", "fortress-refresh"} <= browser.cookies.keys()
    assert (await browser.get("/users/me")).json()["email"] == "ann@example.com"
    logged = capfd.readouterr().err
    assert not [secret for secret in (returned["code"], returned["state"], *browser.cookies.values()) if secret in logged]


async def test_the_callback_tells_its_page_only_a_code_of_ours(browser: Browser, issuer: Issuer, callers: Callers) -> None:
    await callers.person("ann")
    returned = issuer.authorize(await browser.start(redirect_to="/welcome"))
    reply = await browser.get(f"/auth/providers/acme/callback?{query_of(returned)}")
    assert (reply.status, reply.headers["location"]) == (303, "/welcome?error=auth.account_exists")
    assert "fortress-access" not in browser.cookies


async def test_the_callback_links_for_whoever_began_it(browser: Browser, issuer: Issuer, callers: Callers) -> None:
    ann = await callers.person("ann")
    begun = await browser.post("/users/me/providers/acme/start", {"redirect_to": "/welcome"}, as_=ann)
    returned = issuer.authorize(begun.json()["authorization_url"])
    assert (await browser.get(f"/auth/providers/acme/callback?{query_of(returned)}")).headers["location"] == "/welcome"
    assert len((await browser.get("/users/me/identities", as_=ann)).json()) == 1


async def test_a_sign_in_ends_at_no_other_path(running: Fortress) -> None:
    """ASVS V3.7.2: the open-redirect corpus."""
    for number, path in enumerate(ELSEWHERE):
        refused = await Client(running, address=f"192.0.2.{number}").post("/auth/providers/acme/start", {"redirect_to": path})
        assert refused.status == 422, path
        assert "evil" not in refused.body.decode()


async def test_fresh_asks_the_provider_anew_and_believes_only_what_it_signs(browser: Browser, issuer: Issuer) -> None:
    """ASVS V6.8.4, V7.5.3."""
    url = await browser.start(fresh=True)
    asked = parse_qs(urlsplit(url).query)
    assert (asked["max_age"], asked["prompt"]) == (["300"], ["login"])
    assert (await browser.complete(issuer.authorize(url))).code == "auth.provider_not_trusted"
    issuer.person["auth_time"] = int(time.time()) - 3600
    assert (await browser.complete(issuer.authorize(await browser.start(fresh=True)))).code == "auth.provider_not_trusted"
    issuer.person["auth_time"] = int(time.time()) - 5
    assert (await browser.complete(issuer.authorize(await browser.start(fresh=True)))).status == 200
    assert (await browser.post("/auth/providers/hub/start", {"fresh": True})).status == 422


async def test_a_sign_in_elsewhere_of_long_ago_is_no_fresh_proof_here(browser: Browser, issuer: Issuer) -> None:
    """ASVS V6.8.4, V7.5.3: `auth_time` counts, not the moment of coming back."""
    issuer.person["auth_time"] = int(time.time()) - 3600
    stale = bearer((await signed_in(browser, issuer)).json())
    (only,) = (await browser.get("/users/me/identities", as_=stale)).json()
    assert (await browser.delete(f"/users/me/identities/{only['id']}", as_=stale)).code == "auth.reauthentication_required"
    assert (await browser.post("/users/me/providers/other/start", {}, as_=stale)).code == "auth.reauthentication_required"


async def test_the_accounts_own_second_factor_is_still_asked(
    browser: Browser, issuer: Issuer, callers: Callers, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASVS V6.3.3, V6.3.4: no way in is without it, unless the provider proved two and is trusted with that."""
    ann = await callers.person("ann")
    await linked(browser, issuer, ann)
    app = App((await client.post("/users/me/mfa", as_=ann)).json(), Later(monkeypatch))
    assert (await client.post("/users/me/mfa/confirm", {"code": app.code()}, as_=ann)).status == 200
    asked = await signed_in(browser, issuer)
    assert (asked.status, asked.code) == (403, "auth.mfa_required")
    done = await client.post("/auth/mfa", {"mfa_token": asked.json()["mfa_token"], "code": app.code()})
    assert (await client.get("/users/me", as_=bearer(done.json()))).json()["id"] == ann.id
    reply = await browser.get(f"/auth/providers/acme/callback?{query_of(issuer.authorize(await browser.start()))}")
    assert reply.headers["location"] == "/?error=auth.mfa_required"
    assert "fortress-access" not in browser.cookies
    done = await client.post("/auth/mfa", {"mfa_token": browser.cookies["fortress-mfa"], "code": app.code()})
    assert done.status == 200
    issuer.person["amr"] = ["mfa"]
    assert (await signed_in(browser, issuer, "trusted")).status == 200
    assert (await signed_in(browser, issuer, "acme")).code == "auth.mfa_required"


async def test_over_https_the_cookie_is_bound_to_the_host(issuer: Issuer, settings: Settings, app: Fortress) -> None:
    """ASVS V3.3.1, V3.3.3."""
    cookie = FlowCookie(settings.model_copy(update={"public_url": "https://app.example"}))
    assert cookie.keep("v")[1] == b"__Host-fortress-provider=v; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert cookie.second_step("v")[1] == b"__Host-fortress-mfa=v; Max-Age=300; Path=/; SameSite=Strict; Secure"


async def test_what_is_kept_of_an_identity_is_exported_and_goes_with_its_person(
    browser: Browser, issuer: Issuer, callers: Callers, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    """GDPR Art. 15 and 17."""
    ann = await callers.person("ann")
    await linked(browser, issuer, ann)
    await browser.post("/users/me/providers/acme/start", {}, as_=ann)
    exported = (await browser.get("/users/me/export", as_=ann)).json()["domains"]["identity"]["identities"]
    assert [(one["issuer"], one["subject"]) for one in exported] == [(issuer.url, "somebody-42")]
    erased = await browser.delete("/users/me", {"password": PASSWORD}, as_=ann)
    assert erased.status == 204, erased.body
    assert await rows.fetchval("SELECT (SELECT count(*) FROM identities) + (SELECT count(*) FROM provider_flows)") == 0
    assert (await signed_in(browser, issuer)).status == 200, "who comes again is a stranger"


async def test_the_last_way_in_stays(browser: Browser, issuer: Issuer, other: Issuer, callers: Callers) -> None:
    stranger = bearer((await signed_in(browser, issuer)).json())
    (only,) = (await browser.get("/users/me/identities", as_=stranger)).json()
    refused = await browser.delete(f"/users/me/identities/{only['id']}", as_=stranger)
    assert (refused.status, refused.code) == (409, "users.last_way_in")
    other.person |= {"sub": "another", "email": "ann@elsewhere.example"}
    assert (await linked(browser, other, stranger, "other")).status == 200
    assert (await browser.delete(f"/users/me/identities/{only['id']}", as_=stranger)).status == 204
    assert (await signed_in(browser, issuer)).code == "auth.account_exists"


async def test_of_two_ways_in_that_go_at_once_one_stays(browser: Browser, issuer: Issuer, other: Issuer) -> None:
    stranger = bearer((await signed_in(browser, issuer)).json())
    other.person |= {"sub": "another"}
    await linked(browser, other, stranger, "other")
    mine = (await browser.get("/users/me/identities", as_=stranger)).json()
    replies = await asyncio.gather(*(browser.delete(f"/users/me/identities/{one['id']}", as_=stranger) for one in mine))
    assert sorted(reply.status for reply in replies) == [204, 409]


async def test_there_is_an_end_of_identities(
    browser: Browser, issuer: Issuer, callers: Callers, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    ann = await callers.person("ann")
    await rows.execute(
        "INSERT INTO identities SELECT gen_random_uuid(), $1, 'acme', $2, n::text, now(), NULL FROM generate_series(1, 20) n",
        UUID(ann.id),
        issuer.url,
    )
    assert (await linked(browser, issuer, ann)).code == "identities.too_many"


async def test_nobody_unlinks_for_others(browser: Browser, issuer: Issuer, callers: Callers) -> None:
    ann, eve = await callers.person("ann"), await callers.person("eve")
    mine = (await linked(browser, issuer, ann)).json()
    assert (await browser.delete(f"/users/me/identities/{mine['id']}", as_=eve)).code == "identities.not_found"
    assert (await browser.delete(f"/users/me/identities/{mine['id']}", as_=ann)).status == 204
    assert (await browser.delete(f"/users/me/identities/{mine['id']}", as_=ann)).status == 404


async def test_linking_is_told_to_the_owner_and_to_other_domains(
    browser: Browser, issuer: Issuer, callers: Callers, rows: asyncpg.Connection[asyncpg.Record], running: Fortress, tmp_path: Path
) -> None:
    """ASVS V6.3.7."""
    ann = await callers.person("ann")
    mine = (await linked(browser, issuer, ann)).json()
    await browser.delete(f"/users/me/identities/{mine['id']}", as_=ann)
    told = [(row["name"], row["target"]) for row in await rows.fetch("SELECT name, payload->>'identity_id' AS target FROM events")]
    assert {("IdentityLinked", mine["id"]), ("IdentityUnlinked", mine["id"])} <= set(told)
    await post(running)
    subjects = [message_from_bytes(mail.read_bytes())["Subject"] for mail in (tmp_path / "mail").iterdir()]
    assert {"Acme was linked to your account at Fortress", "Acme was unlinked from your account at Fortress"} <= set(subjects)
