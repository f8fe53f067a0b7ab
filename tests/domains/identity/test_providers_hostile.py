"""Providers that lie, and people who bring what is not theirs: refused with one code, one audit row, and nothing of it repeated."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from tests.providers.browser import Browser
from tests.providers.hostile import CLIENT_ID, CLIENT_SECRET, OTHER_KEY, PLANTED, Answered, Issuer, elliptic, listening

from fortress import Fortress
from fortress.domains.identity.service.providers import outward
from fortress.settings import ProviderSettings, Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Client, Reply

Spoil = Callable[[Issuer], object]
CURVED = elliptic()
KEPT_IN = ("audit_log", "events", "identities", "provider_flows")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with listening() as made:
        made.person |= {"name": PLANTED}
        yield made


@pytest.fixture
async def other() -> AsyncIterator[Issuer]:
    async with listening() as made:
        yield made


@pytest.fixture
def settings(settings: Settings, issuer: Issuer, other: Issuer) -> Settings:
    shared: dict[str, Any] = {"client_id": CLIENT_ID, "client_secret": SecretStr(CLIENT_SECRET), "client_auth": "post"}
    providers = {
        "acme": ProviderSettings(kind="oidc", issuer=issuer.url, **shared),
        "other": ProviderSettings(kind="oidc", issuer=other.url, **shared),
        "hub": ProviderSettings(kind="github", address=issuer.url, **shared),
    }
    return settings.model_copy(update={"providers": providers, "log_level": "debug"})


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(client)


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def saying(**claims: Any) -> Spoil:
    """The token says this; None leaves a claim out."""

    def spoil(issuer: Issuer) -> None:
        issuer.claims = lambda usual: {name: value for name, value in (usual | claims).items() if value is not None}

    return spoil


def headed(**header: Any) -> Spoil:
    """The token's header says this."""

    def spoil(issuer: Issuer) -> None:
        issuer.sign = lambda claims: issuer.signed(claims, header)

    return spoil


def answering(path: str, make: Callable[[], Answered]) -> Spoil:
    """The provider answers this instead."""
    return lambda issuer: issuer.answers.update({path: make})


def signing(make: Callable[[Issuer, dict[str, Any]], str]) -> Spoil:
    """The provider makes its tokens so."""

    def spoil(issuer: Issuer) -> None:
        issuer.sign = lambda claims: make(issuer, claims)

    return spoil


def publishing(*keys: dict[str, Any]) -> Spoil:
    """The provider publishes these keys."""
    return lambda issuer: issuer.keys.__setitem__(slice(None), keys)


def _tampered(issuer: Issuer, claims: dict[str, Any]) -> str:
    head, _, signature = issuer.signed(claims).split(".")
    return f"{head}.{issuer.signed(claims | {'sub': 'somebody-else'}).split('.')[1]}.{signature}"


def _now() -> int:
    return int(time.time())


TOKENS: dict[str, tuple[Spoil, str]] = {
    "iss of another": (saying(iss="https://evil.example"), "issuer"),
    "iss with a slash": (lambda issuer: saying(iss=issuer.url + "/")(issuer), "issuer"),
    "iss missing": (saying(iss=None), "claims"),
    "iss as a list": (lambda issuer: saying(iss=[issuer.url])(issuer), "claims"),
    "aud of another client": (saying(aud="another"), "audience"),
    "aud of several": (saying(aud=[CLIENT_ID, "another"]), "audience"),
    "aud of several, azp ours": (saying(aud=[CLIENT_ID, "another"], azp=CLIENT_ID), "audience"),
    "aud of nobody": (saying(aud=[]), "audience"),
    "aud missing": (saying(aud=None), "claims"),
    "azp of another": (saying(azp="another"), "authorized_party"),
    "nonce missing": (saying(nonce=None), "nonce"),
    "nonce of another": (saying(nonce="x" * 43), "nonce"),
    "nonce as a number": (saying(nonce=1), "claims"),
    "sub missing": (saying(sub=None), "claims"),
    "sub empty": (saying(sub=""), "subject"),
    "sub too long": (saying(sub="x" * 256), "subject"),
    "sub not ASCII": (saying(sub="somebödy"), "subject"),
    "sub with a line": (saying(sub="some\nbody"), "subject"),
    "sub as a number": (saying(sub=42), "claims"),
    "expired": (saying(exp=_now() - 61), "expired"),
    "exp missing": (saying(exp=None), "claims"),
    "exp as text": (saying(exp="99999999999"), "claims"),
    "exp as true": (saying(exp=True), "claims"),
    "iat in the future": (saying(iat=_now() + 3600), "too_early"),
    "iat missing": (saying(iat=None), "claims"),
    "nbf in the future": (saying(nbf=_now() + 3600), "too_early"),
    "no claims at all": (signing(lambda issuer, _: issuer.signed([])), "claims"),
    "alg none": (signing(lambda issuer, claims: issuer.unsigned(claims)), "shape"),
    "alg none, signed": (signing(lambda issuer, claims: issuer.unsigned(claims) + "AAAA"), "algorithm"),
    "HS256 with the public key": (signing(lambda issuer, claims: issuer.confused(claims)), "algorithm"),
    "signed by another key": (signing(lambda issuer, claims: issuer.signed(claims, None, OTHER_KEY)), "signature"),
    "another key, said to be": (signing(lambda issuer, claims: issuer.signed(claims, {"kid": "second"}, OTHER_KEY)), "key"),
    "a key that brings itself": (
        signing(lambda issuer, claims: issuer.signed(claims, {"jwk": OTHER_KEY.as_dict(private=False)}, OTHER_KEY)),
        "header",
    ),
    "jku": (lambda issuer: headed(jku=f"{issuer.url}/evil")(issuer), "header"),
    "x5u": (lambda issuer: headed(x5u=f"{issuer.url}/evil")(issuer), "header"),
    "x5c": (headed(x5c=["AAAA"]), "header"),
    "a logout token": (headed(typ="logout+jwt"), "header"),
    "an access token": (headed(typ="at+jwt"), "header"),
    "kid unknown": (headed(kid="third"), "key"),
    "kid a path": (headed(kid="../../../dev/null"), "key"),
    "kid a number": (headed(kid=7), "header"),
    "alg of another type": (headed(alg="PS256"), "key"),
    "claims exchanged": (signing(_tampered), "signature"),
    "two segments": (signing(lambda issuer, claims: issuer.signed(claims).rpartition(".")[0]), "shape"),
    "four segments": (signing(lambda issuer, claims: issuer.signed(claims) + ".AAAA"), "shape"),
    "padding": (signing(lambda issuer, claims: issuer.signed(claims) + "="), "shape"),
    "very long": (signing(lambda issuer, claims: issuer.signed(claims | {"x": "y" * 20_000})), "shape"),
    "no ID token": (answering("/token", lambda: Answered({"access_token": "a", "token_type": "bearer"})), "no_id_token"),
    "not a bearer token": (answering("/token", lambda: Answered({"access_token": "a", "token_type": "mac"})), "token_type"),
}
DOCUMENTS: dict[str, tuple[Spoil, str]] = {
    "keys of encryption": (lambda issuer: issuer.keys[0].update(use="enc"), "key"),
    "a key of another curve": (
        lambda issuer: (publishing(CURVED.as_dict(private=False) | {"crv": "P-384"})(issuer), headed(alg="ES256", kid="curved")(issuer)),
        "key",
    ),
    "two keys of one id": (lambda issuer: issuer.keys.append(OTHER_KEY.as_dict(private=False) | {"kid": "first"}), "key"),
    "a short key": (lambda issuer: issuer.keys[0].update(n="AQAB"), "keys"),
    "a key of numbers": (lambda issuer: issuer.keys[0].update(n=7), "keys"),
    "keys without end": (publishing(*[{"kty": "RSA"}] * 101), "keys"),
    "keys that are none": (answering("/jwks", lambda: Answered([PLANTED])), "document"),
    "another person at userinfo": (
        lambda issuer: (
            issuer.metadata.update(userinfo_endpoint=f"{issuer.url}/userinfo"),
            saying(email=None)(issuer),
            answering("/userinfo", lambda: Answered({"sub": "another", "email": "eve@example.com", "email_verified": True}))(issuer),
        ),
        "subject",
    ),
}
EXCHANGES: dict[str, tuple[Spoil, str, int]] = {
    "keys away": (answering("/jwks", lambda: Answered({"error": PLANTED}, 500)), "auth.provider_unavailable", 503),
    "tokens away": (answering("/token", lambda: Answered({"error": PLANTED}, 502)), "auth.provider_unavailable", 503),
    "too many": (answering("/token", lambda: Answered({"error": PLANTED}, 429)), "auth.provider_unavailable", 503),
    "slow": (answering("/token", lambda: Answered({}, after=30)), "auth.provider_unavailable", 503),
    "huge": (answering("/token", lambda: Answered(b" " * 300_000)), "auth.provider_not_trusted", 401),
    "compressed": (answering("/token", lambda: Answered(b"x", headers={"content-encoding": "gzip"})), "auth.provider_not_trusted", 401),
    "not JSON": (answering("/token", lambda: Answered(PLANTED.encode())), "auth.provider_not_trusted", 401),
    "an error as success": (answering("/token", lambda: Answered({"error": PLANTED})), "auth.provider_not_trusted", 401),
    "refused": (answering("/token", lambda: Answered({"error": PLANTED}, 401)), "auth.provider_not_trusted", 401),
    "missing": (answering("/token", lambda: Answered({"error": PLANTED}, 404)), "auth.provider_not_trusted", 401),
}


METADATA: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "https://evil.example"}, "metadata_issuer"),
    ({"token_endpoint": "http://evil.example/token"}, "address"),
    ({"jwks_uri": "http://10.0.0.1/jwks"}, "address"),
    ({"jwks_uri": ""}, "address"),
    ({"userinfo_endpoint": "file:///etc/passwd"}, "address"),
    ({"authorization_endpoint": "javascript:alert(1)"}, "address"),
    ({"authorization_endpoint": None}, "document"),
    # The last, for what is read well is kept.
    ({"authorization_endpoint": "https://idp.example/authorize?redirect_uri=https://evil.example"}, "address"),
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a provider that does not answer."""
    monkeypatch.setattr(outward, "SECONDS", 0.5)
    monkeypatch.setattr(outward.Outward.__init__, "__defaults__", (0.5, outward.LARGEST))


async def refusals(rows: asyncpg.Connection[asyncpg.Record]) -> list[dict[str, Any]]:
    found = await rows.fetch("SELECT detail::text AS detail FROM audit_log WHERE action = 'auth.provider_refused' ORDER BY tx, seq")
    return [json.loads(row["detail"]) for row in found]


async def repeats_nothing(
    browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record], returned: dict[str, str], logged: str
) -> None:
    """Nothing of the provider's, and nothing secret, is in any answer, log line, event or audit row (ASVS V10.1.1, V16.2.5)."""
    secrets = [PLANTED, CLIENT_SECRET, returned["state"], *issuer.tokens, *browser.cookies.values()]
    secrets += [returned["code"]] if "code" in returned else []
    tables = [
        await rows.fetch(f"SELECT t::text AS line FROM {table} t") for table in ("audit_log", "events", "identities", "provider_flows")
    ]
    shown = [reply.body.decode() for reply in browser.seen[1:]] + [row["line"] for table in tables for row in table] + [logged]
    assert not [secret for secret in secrets for text in shown if secret in text]
    assert "example.com" not in logged


async def test_tokens_that_do_not_hold_are_refused(
    running: Fortress, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record], capfd: pytest.CaptureFixture[str]
) -> None:
    """ASVS V6.8.2, V9.1.2, V9.1.3, V10.5.1, V10.5.2, V10.5.4: one thing is wrong with each."""
    got: dict[str, tuple[int, str, str]] = {}
    for number, (case, (spoil, _)) in enumerate(TOKENS.items()):
        browser = Browser(Client(running, address=f"192.0.2.{number}"))
        issuer.keep_the_rules()
        spoil(issuer)
        returned = issuer.authorize(await browser.start())
        refused = await browser.complete(returned)
        got[case] = (refused.status, refused.code, (await refusals(rows))[-1]["fault"])
        await repeats_nothing(browser, issuer, rows, returned, capfd.readouterr().err)
    assert got == {case: (401, "auth.provider_not_trusted", fault) for case, (_, fault) in TOKENS.items()}
    assert len(await refusals(rows)) == len(TOKENS)
    assert await rows.fetchval("SELECT count(*) FROM identities") == 0
    assert issuer.asked["/evil"] == 0


@pytest.mark.parametrize("case", DOCUMENTS)
async def test_documents_that_do_not_hold_are_refused(
    case: str, browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record], capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, fault = DOCUMENTS[case]
    spoil(issuer)
    returned = issuer.authorize(await browser.start())
    refused = await browser.complete(returned)
    assert (refused.status, refused.code) == (401, "auth.provider_not_trusted")
    expected = {"provider": "acme", "purpose": "sign_in", "code": "auth.provider_not_trusted", "fault": fault}
    assert await refusals(rows) == [expected]
    await repeats_nothing(browser, issuer, rows, returned, capfd.readouterr().err)


async def test_exchanges_that_go_wrong_are_refused(
    quick: None, running: Fortress, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record], capfd: pytest.CaptureFixture[str]
) -> None:
    """API10: bounded in time and size, and nothing is believed."""
    got: dict[str, tuple[str, int]] = {}
    for case, (spoil, _, _) in EXCHANGES.items():
        browser = Browser(Client(running))
        issuer.keep_the_rules()
        spoil(issuer)
        returned = issuer.authorize(await browser.start())
        refused = await browser.complete(returned)
        got[case] = (refused.code, refused.status)
        assert [row["code"] for row in await refusals(rows)][len(got) - 1 :] == [refused.code]
        await repeats_nothing(browser, issuer, rows, returned, capfd.readouterr().err)
    assert got == {case: (code, status) for case, (_, code, status) in EXCHANGES.items()}


async def test_an_outward_call_follows_no_redirect(browser: Browser, issuer: Issuer, other: Issuer) -> None:
    """ASVS V15.3.2."""
    answering("/token", lambda: Answered({}, 307, {"location": f"{other.url}/token"}))(issuer)
    assert (await browser.complete(issuer.authorize(await browser.start()))).code == "auth.provider_not_trusted"
    assert not other.asked


async def test_metadata_that_leads_elsewhere_is_not_followed(
    browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    """ASVS V10.5.3, V12.2.1."""
    for change, fault in METADATA:
        issuer.metadata = change
        refused = await browser.post("/auth/providers/acme/start", {})
        assert (refused.status, refused.code) == (401, "auth.provider_not_trusted")
        assert "evil" not in refused.body.decode()
        assert (await refusals(rows))[-1]["fault"] == fault, change


async def test_an_issuer_that_differs_by_a_slash_is_another(browser: Browser, issuer: Issuer) -> None:
    issuer.metadata["issuer"] = issuer.url + "/"
    assert (await browser.post("/auth/providers/acme/start", {})).code == "auth.provider_not_trusted"


async def test_a_flood_of_unknown_key_ids_is_no_flood_to_the_provider(browser: Browser, issuer: Issuer) -> None:
    for number in range(5):
        headed(kid=f"made-up-{number}")(issuer)
        assert (await browser.complete(issuer.authorize(await browser.start()))).code == "auth.provider_not_trusted"
    assert issuer.asked["/jwks"] == 1
    assert issuer.asked["/.well-known/openid-configuration"] == 1


async def test_a_provider_that_is_away_is_not_asked_by_everybody(quick: None, browser: Browser, issuer: Issuer) -> None:
    answering("/.well-known/openid-configuration", lambda: Answered({}, 503))(issuer)
    replies = await asyncio.gather(*(browser.post("/auth/providers/acme/start", {}) for _ in range(10)))
    assert {reply.code for reply in replies} == {"auth.provider_unavailable"}
    assert issuer.asked["/.well-known/openid-configuration"] == 1


async def lost(reply: Reply, rows: asyncpg.Connection[asyncpg.Record], reason: str) -> None:
    assert (reply.status, reply.code) == (401, "auth.provider_flow_lost")
    found = await rows.fetch("SELECT detail->>'reason' AS reason FROM audit_log WHERE action = 'auth.provider_flow_lost'")
    assert {row["reason"] for row in found} == {reason}


async def test_two_browsers_can_not_exchange_their_states(client: Client, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record]) -> None:
    """ASVS V10.1.2, V10.2.1: login CSRF, both ways."""
    ann, eve = Browser(client), Browser(client)
    of_ann, of_eve = issuer.authorize(await ann.start()), issuer.authorize(await eve.start())
    await lost(await ann.complete(of_eve), rows, "unknown")
    await lost(await eve.complete(of_ann), rows, "unknown")
    assert not {"/token"} & issuer.asked.keys()
    assert (await ann.complete(of_ann)).status == 200, "who came in vain takes nothing away"


async def test_a_code_of_another_browser_is_not_redeemed(client: Client, issuer: Issuer) -> None:
    """RFC 9700 §4.5: code injection; the verifier belongs to the browser."""
    ann, eve = Browser(client), Browser(client)
    of_ann, of_eve = issuer.authorize(await ann.start()), issuer.authorize(await eve.start())
    assert (await eve.complete(of_eve | {"code": of_ann["code"]})).code == "auth.provider_not_trusted"


async def test_without_the_cookie_there_is_nothing(client: Client, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record]) -> None:
    returned = issuer.authorize(await Browser(client).start())
    await lost(await Browser(client).complete(returned), rows, "unknown")
    query = "&".join(f"{name}={value}" for name, value in returned.items())
    reply = await Browser(client).get(f"/auth/providers/acme/callback?{query}")
    assert (reply.status, reply.code) == (401, "auth.provider_flow_lost")


async def test_a_cookie_that_comes_twice_is_none(client: Client, issuer: Issuer) -> None:
    """ASVS V3.3.3."""
    browser = Browser(client)
    returned = issuer.authorize(await browser.start())
    (kept,) = browser.cookies.items()
    planted = {"cookie": f"{kept[0]}=planted; {kept[0]}={kept[1]}"}
    assert (await client.post("/auth/providers/acme/complete", returned, headers=planted)).code == "auth.cookie_twice"


async def test_a_state_is_good_once_also_for_many_at_once(browser: Browser, issuer: Issuer) -> None:
    returned = issuer.authorize(await browser.start())
    replies = await asyncio.gather(*(browser.complete(returned) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [200] + [401] * 7
    assert issuer.asked["/token"] == 1


async def test_a_code_that_was_used_is_refused(browser: Browser, issuer: Issuer) -> None:
    returned = issuer.authorize(await browser.start())
    issuer.spend(returned["code"])
    assert (await browser.complete(returned)).code == "auth.provider_not_trusted"


async def test_a_sign_in_that_took_too_long_is_over(browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record]) -> None:
    returned = issuer.authorize(await browser.start())
    await rows.execute("UPDATE provider_flows SET expires_at = now() - interval '1 second'")
    await lost(await browser.complete(returned), rows, "expired")


@pytest.mark.parametrize("iss", ["https://evil.example", None, "of the other"])
async def test_an_answer_in_the_name_of_another_issuer_ends_before_the_code_travels(
    browser: Browser, issuer: Issuer, other: Issuer, rows: asyncpg.Connection[asyncpg.Record], iss: str | None
) -> None:
    """RFC 9207, ASVS V10.2.2: one that announces `iss` and leaves it out is another too."""
    returned = issuer.authorize(await browser.start())
    del returned["iss"]
    if iss is not None:
        returned["iss"] = other.url if iss == "of the other" else iss
    assert (await browser.complete(returned)).code == "auth.provider_not_trusted"
    assert [row["fault"] for row in await refusals(rows)] == ["issuer"]
    assert issuer.asked["/token"] == other.asked["/token"] == 0


async def test_an_issuer_that_is_not_announced_is_compared_all_the_same(browser: Browser, issuer: Issuer) -> None:
    issuer.metadata["authorization_response_iss_parameter_supported"] = False
    wrong = issuer.authorize(await browser.start()) | {"iss": "https://evil.example"}
    assert (await browser.complete(wrong)).code == "auth.provider_not_trusted"
    returned = issuer.authorize(await browser.start())
    del returned["iss"]
    assert (await browser.complete(returned)).status == 200


async def test_what_one_provider_sent_is_not_taken_to_another(
    browser: Browser, issuer: Issuer, other: Issuer, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    """ASVS V10.2.2: the mix-up; the sign-in is over by it."""
    returned = issuer.authorize(await browser.start("acme"))
    await lost(await browser.complete(returned, "other"), rows, "provider")
    assert (await browser.complete(returned, "acme")).code == "auth.provider_flow_lost"
    assert issuer.asked["/token"] == other.asked["/token"] == 0


async def test_what_the_provider_says_of_an_error_is_not_repeated(
    browser: Browser, issuer: Issuer, rows: asyncpg.Connection[asyncpg.Record], capfd: pytest.CaptureFixture[str]
) -> None:
    returned = issuer.authorize(await browser.start())
    said = {"state": returned["state"], "iss": returned["iss"], "error": PLANTED}
    refused = await browser.complete(said)
    assert (refused.status, refused.code) == (401, "auth.provider_declined")
    returned = issuer.authorize(await browser.start())
    query = f"state={returned['state']}&iss={returned['iss']}&error=access_denied&error_description={PLANTED}<script>"
    reply = await browser.get(f"/auth/providers/acme/callback?{query}")
    assert (reply.status, reply.headers["location"]) == (303, "/?error=auth.provider_declined")
    assert [row["code"] for row in await refusals(rows)] == ["auth.provider_declined"] * 2
    assert PLANTED not in capfd.readouterr().err


async def test_half_an_answer_is_none(browser: Browser, issuer: Issuer) -> None:
    for wrong in ({"code": "c"}, {"state": "x", "code": "c" * 5000}, {"state": "x", "error": "e", "description": "e"}):
        assert (await browser.complete(wrong)).status == 422
    for change in ({"code": None}, {"error": "access_denied"}):
        returned: dict[str, Any] = issuer.authorize(await browser.start()) | change
        assert (await browser.complete(returned)).code == "auth.provider_declined"
    assert issuer.asked["/token"] == 0


async def test_a_link_is_not_finished_as_a_sign_in_nor_by_somebody_else(
    client: Client, browser: Browser, issuer: Issuer, callers: Callers, rows: asyncpg.Connection[asyncpg.Record]
) -> None:
    ann, eve = await callers.person("ann"), await callers.person("eve")

    async def begun() -> dict[str, str]:
        reply = await browser.post("/users/me/providers/acme/start", {}, as_=ann)
        return issuer.authorize(reply.json()["authorization_url"])

    finish = "/users/me/providers/acme/complete"
    assert (await browser.complete(await begun())).code == "auth.provider_flow_lost"
    assert (await browser.post(finish, await begun(), as_=eve)).code == "auth.provider_flow_lost"
    again = await callers.sign_in("ann", "ann@example.com", PASSWORD)
    assert (await browser.post(finish, await begun(), as_=again)).code == "auth.provider_flow_lost", "another session of hers"
    as_sign_in = issuer.authorize(await browser.start())
    assert (await browser.post(finish, as_sign_in, as_=ann)).code == "auth.provider_flow_lost"
    found = await rows.fetch("SELECT detail->>'reason' AS reason FROM audit_log WHERE action = 'auth.provider_flow_lost' ORDER BY tx, seq")
    assert [row["reason"] for row in found] == ["purpose", "person", "person", "purpose"]
    returned = await begun()
    await client.post("/auth/logout", as_=ann)
    query = "&".join(f"{name}={value}" for name, value in returned.items())
    reply = await browser.get(f"/auth/providers/acme/callback?{query}")
    assert reply.headers["location"] == "/?error=auth.provider_flow_lost", "the session in which it was begun has ended"


async def test_github_that_refuses_a_code_with_200_is_understood(browser: Browser, issuer: Issuer) -> None:
    answering("/login/oauth/access_token", lambda: Answered({"error": "bad_verification_code", "error_description": PLANTED}))(issuer)
    assert (await browser.complete(issuer.authorize(await browser.start("hub")), "hub")).code == "auth.provider_not_trusted"


async def test_github_without_an_id_is_nobody(browser: Browser, issuer: Issuer) -> None:
    answers: list[Any] = [{"id": "42"}, {"id": None}, {}, [], {"id": True}]
    for said in answers:
        issuer.answers["/api/v3/user"] = partial(Answered, said)
        assert (await browser.complete(issuer.authorize(await browser.start("hub")), "hub")).code == "auth.provider_not_trusted"


async def test_an_unknown_provider_is_not_there(browser: Browser) -> None:
    for path in ("/auth/providers/nobody/start", "/auth/providers/ACME/start"):
        assert (await browser.post(path, {})).code == "providers.not_found"
    assert (await browser.complete({"state": "x", "code": "y"}, "nobody")).code == "providers.not_found"
