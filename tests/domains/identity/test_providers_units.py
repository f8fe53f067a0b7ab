"""The parts of sign-in with others, one by one: kinds as data, times, keys, settings."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rich.pretty import pretty_repr
from tests.domains.conftest import World
from tests.providers.hostile import CLIENT_ID, OTHER_KEY, Answered, Issuer, listening

from fortress.clock import FixedClock, SystemClock
from fortress.domains.identity.contract import ProviderFlowLost, ProviderUnavailable
from fortress.domains.identity.service.providers import ConfiguredProviders, ProviderFlows
from fortress.domains.identity.service.providers.client import ProviderClient, Question
from fortress.domains.identity.service.providers.documents import FRESH_SECONDS, RELOAD_SECONDS, Documents
from fortress.domains.identity.service.providers.flows import LIFE, Begun, Response, Wish
from fortress.domains.identity.service.providers.id_tokens import LEEWAY, Claims, Expected, check, read_id_token
from fortress.domains.identity.service.providers.kinds import Provider, provider_of
from fortress.domains.identity.service.providers.outward import Outward
from fortress.domains.identity.service.providers.refusals import Fault, Untrusted
from fortress.errors import CannotStart, Invalid
from fortress.settings import ProviderSettings, Settings, read_settings

TENANT = "11111111-2222-3333-4444-555555555555"
OF_TENANT = f"https://login.microsoftonline.com/{TENANT}/v2.0"
NOW = 1_800_000_000.0
OPEN_WAYS = [
    *("http://idp.example/", "ftp://127.0.0.1/", "https://a:b@idp.example/", "https:///x", "//idp.example/"),
    *("https://idp.example/#x", "http://[::1", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/", "file:///etc/passwd"),
]
EXPECTED = Expected("n" * 43, None, NOW, None)


def made(**given: Any) -> Provider:
    return provider_of("acme", ProviderSettings(client_id=CLIENT_ID, **given), "https://app.example/callback")


def claims(**changed: Any) -> Claims:
    usual: dict[str, Any] = {"iss": "https://idp.example", "sub": "x", "aud": CLIENT_ID, "exp": NOW + 60, "iat": NOW, "nonce": "n" * 43}
    return Claims(**(usual | changed))


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with listening() as served:
        yield served


def test_a_kind_is_its_addresses() -> None:
    google, github, microsoft = made(kind="google"), made(kind="github"), made(kind="microsoft")
    assert (google.issuer, google.kind.metadata) == (
        "https://accounts.google.com",
        "https://accounts.google.com/.well-known/openid-configuration",
    )
    assert (github.kind.token, github.kind.profile) == ("https://github.com/login/oauth/access_token", "https://api.github.com/user")
    assert made(kind="github", address="https://git.example/").kind.emails == "https://git.example/api/v3/user/emails"
    assert microsoft.kind.metadata == "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"
    assert made(kind="microsoft", tenant=TENANT).issuer == OF_TENANT
    assert made(kind="oidc", issuer="https://idp.example/").kind.metadata == "https://idp.example/.well-known/openid-configuration"
    assert (google.title, github.title, made(kind="oidc", issuer="https://idp.example").title) == ("Google", "GitHub", "acme")


def test_an_issuer_of_many_tenants_names_the_one_of_the_token() -> None:
    microsoft = made(kind="microsoft")
    check(claims(iss=OF_TENANT, tid=TENANT), microsoft, EXPECTED)
    other = TENANT.replace("1", "9")
    for wrong in (
        {"iss": OF_TENANT},
        {"iss": OF_TENANT, "tid": other},
        {"iss": OF_TENANT.upper(), "tid": TENANT.upper()},
        {"iss": microsoft.issuer, "tid": "{tenantid}"},
        {"iss": "https://login.microsoftonline.com/x/../evil/v2.0", "tid": "x/../evil"},
        {"iss": "https://login.microsoftonline.com//v2.0", "tid": ""},
    ):
        with pytest.raises(Untrusted) as refused:
            check(claims(**wrong), microsoft, EXPECTED)
        assert refused.value.fault is Fault.ISSUER
    assert microsoft.is_issuer(OF_TENANT)
    assert not microsoft.is_issuer(microsoft.issuer)
    assert not made(kind="microsoft", tenant=TENANT).is_issuer(OF_TENANT.replace("1", "9"))


def test_the_issuer_of_the_answer_is_the_one_of_the_token() -> None:
    asked = Expected("n" * 43, OF_TENANT.replace("1", "9"), NOW, None)
    with pytest.raises(Untrusted):
        check(claims(iss=OF_TENANT, tid=TENANT), made(kind="microsoft"), asked)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"exp": NOW - LEEWAY + 1}, None),
        ({"exp": NOW - LEEWAY}, Fault.EXPIRED),
        ({"iat": NOW + LEEWAY}, None),
        ({"iat": NOW + LEEWAY + 1}, Fault.TOO_EARLY),
        ({"nbf": NOW + LEEWAY + 1}, Fault.TOO_EARLY),
        ({"azp": CLIENT_ID}, None),
        ({"aud": [CLIENT_ID]}, None),
        ({"aud": [CLIENT_ID, CLIENT_ID]}, Fault.AUDIENCE),
    ],
)
def test_times_hold_to_the_second(changed: dict[str, Any], fault: Fault | None) -> None:
    """ASVS V9.2.1."""
    provider = made(kind="oidc", issuer="https://idp.example")
    if fault is None:
        check(claims(**changed), provider, EXPECTED)
        return
    with pytest.raises(Untrusted) as refused:
        check(claims(**changed), provider, EXPECTED)
    assert refused.value.fault is fault


@pytest.mark.parametrize(
    ("auth_time", "holds"), [(NOW - 360, True), (NOW - 361, False), (NOW + 60, True), (NOW + 61, False), (None, False)]
)
def test_the_age_of_a_proof_is_what_the_issuer_signed(auth_time: float | None, holds: bool) -> None:
    """ASVS V6.8.4, V10.3.4."""
    provider, expected = made(kind="oidc", issuer="https://idp.example"), Expected("n" * 43, None, NOW, 300)
    if holds:
        check(claims(auth_time=auth_time), provider, expected)
        return
    with pytest.raises(Untrusted) as refused:
        check(claims(auth_time=auth_time), provider, expected)
    assert refused.value.fault is Fault.AGE


async def test_a_key_of_one_tenant_signs_for_no_other(issuer: Issuer) -> None:
    issuer.metadata["issuer"] = f"{issuer.url}/{{tenantid}}/v2.0"
    provider = made(kind="microsoft", address=issuer.url)
    issuer.answers["/common/v2.0/.well-known/openid-configuration"] = lambda: Answered(issuer.published())
    said = {"iss": f"{issuer.url}/{TENANT}/v2.0", "tid": TENANT, "sub": "x", "aud": CLIENT_ID, "nonce": "n" * 43}
    text = issuer.signed(said | {"exp": NOW + 60, "iat": NOW})
    for key_issuer, holds in ((f"{issuer.url}/{{tenantid}}/v2.0", True), (said["iss"], True), (said["iss"].replace("1", "9"), False)):
        issuer.keys[0]["issuer"] = key_issuer
        read = read_id_token(text, provider, Documents(provider, Outward(), SystemClock()), EXPECTED)
        if holds:
            assert (await read)[0].tid == TENANT
            continue
        with pytest.raises(Untrusted):
            await read


async def test_documents_are_asked_for_once_an_hour_and_for_new_keys_once_a_minute(issuer: Issuer) -> None:
    clock = FixedClock(datetime.fromtimestamp(NOW, UTC))
    documents = Documents(made(kind="oidc", issuer=issuer.url), Outward(), clock)
    await asyncio.gather(*(documents.keys("first") for _ in range(10)))
    assert (issuer.asked["/jwks"], issuer.asked["/.well-known/openid-configuration"]) == (1, 1)
    issuer.keys.append(OTHER_KEY.as_dict(private=False))
    assert not await documents.keys("second")
    clock.advance(timedelta(seconds=RELOAD_SECONDS))
    assert await documents.keys("second")
    assert not await documents.keys("third")
    assert issuer.asked["/jwks"] == 2
    clock.advance(timedelta(seconds=FRESH_SECONDS))
    await documents.keys("first")
    assert (issuer.asked["/jwks"], issuer.asked["/.well-known/openid-configuration"]) == (3, 2)


async def test_keys_that_can_not_be_had_again_are_not_believed_for_ever(issuer: Issuer) -> None:
    clock = FixedClock(datetime.fromtimestamp(NOW, UTC))
    documents = Documents(made(kind="oidc", issuer=issuer.url), Outward(), clock)
    assert await documents.keys("first")
    issuer.answers["/jwks"] = lambda: Answered({}, 500)
    clock.advance(timedelta(seconds=FRESH_SECONDS))
    with pytest.raises(ProviderUnavailable):
        await documents.keys("first")


@pytest.mark.parametrize("url", OPEN_WAYS)
async def test_nobody_is_asked_over_an_open_way(url: str) -> None:
    """ASVS V12.2.1."""
    with pytest.raises(Untrusted):
        await Outward().get(url, dict)


async def test_what_has_to_stay_secret_is_in_no_repr(issuer: Issuer) -> None:
    provider = made(kind="oidc", issuer=issuer.url, client_secret=SecretStr("hush"))
    client = ProviderClient(provider, Outward(), SystemClock())
    question = Question("hush", "hush", "hush", None)
    for thing in (provider, client, question, Begun("hush", "hush"), Response("hush", "hush", "hush", "hush"), claims(sub="hush")):
        assert "hush" not in repr(thing) + pretty_repr(thing)


async def test_the_secret_travels_as_the_kind_wants_it(issuer: Issuer) -> None:
    """RFC 6749 §2.3.1: never in an address."""
    provider = made(kind="oidc", issuer=issuer.url, client_secret=SecretStr("hush"))
    url = await ProviderClient(provider, Outward(), SystemClock()).authorization_url(Question("s", "n", "v" * 43, None))
    assert "hush" not in url
    assert (provider.client_auth, made(kind="google", client_secret=SecretStr("x")).client_auth) == (
        "client_secret_basic",
        "client_secret_post",
    )
    assert made(kind="oidc", issuer=issuer.url).client_auth == "none"


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "oidc"},
        {"kind": "google", "issuer": "https://idp.example"},
        {"kind": "oidc", "issuer": "http://idp.example"},
        {"kind": "oidc", "issuer": "http://127.0.0.1.evil.example"},
        {"kind": "google", "address": "https://idp.example"},
        {"kind": "microsoft", "tenant": "../evil"},
        {"kind": "facebook"},
        {"kind": "google", "client_secrt": "hush"},
        {"kind": "google", "redirect_uri": "http://app.example/back"},
    ],
)
def test_a_mistake_in_the_settings_stops_the_start_and_tells_no_secret(given: dict[str, str], tmp_path: Path) -> None:
    said = json.dumps({"acme": {"client_id": "x", "client_secret": "hush"} | given})
    with pytest.raises(CannotStart) as refused:
        read_settings({"FORTRESS_PROVIDERS": said}, tmp_path)
    assert "FORTRESS_PROVIDERS" in refused.value.problem
    assert "hush" not in refused.value.problem


def test_settings_come_from_the_file_as_tables_or_the_environment_as_json(tmp_path: Path) -> None:
    (tmp_path / "fortress.toml").write_text('[providers.acme]\nkind = "google"\nclient_id = "x"\nclient_secret = "hush"\n')
    settings = read_settings({}, tmp_path)
    assert settings.providers["acme"].kind == "google"
    assert "hush" not in repr(settings)
    with pytest.raises(CannotStart, match="not JSON"):
        read_settings({"FORTRESS_PROVIDERS": "{hush"}, tmp_path)
    with pytest.raises(CannotStart):
        read_settings({"FORTRESS_PROVIDERS": '{"Not A Name": {"kind": "google", "client_id": "x"}}'}, tmp_path)


def test_what_the_guide_says_can_be_pasted(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide-sign-in-provider.md").read_text("utf-8")
    (tmp_path / "fortress.toml").write_text(guide.partition("```toml\n")[2].partition("```")[0], "utf-8")
    assert {name: one.kind for name, one in read_settings({}, tmp_path).providers.items()} == {
        "google": "google",
        "github": "github",
        "work": "microsoft",
        "company": "oidc",
    }
    exported = guide.partition("FORTRESS_PROVIDERS='")[2].partition("'")[0]
    assert read_settings({"FORTRESS_PROVIDERS": exported}, tmp_path).providers.keys() == {"google"}


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil", "evil", "/a?b", "https://evil.example", "/a//b", "/ä", ""])
def test_a_path_to_return_to_is_a_path(path: str) -> None:
    with pytest.raises(ValueError, match="return_paths"):
        Settings(return_paths=(path,))


def test_what_is_configured_and_not_installed_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "authlib" else object())
    ConfiguredProviders(Settings(), SystemClock())
    with pytest.raises(CannotStart, match="authlib") as refused:
        ConfiguredProviders(Settings(providers={"acme": ProviderSettings(kind="google", client_id="x")}), SystemClock())
    assert "fortress[providers]" in refused.value.hint


def test_people_are_sent_back_over_https_alone() -> None:
    """ASVS V12.2.1: behind a proxy the address that browsers see must be said."""
    providers = {"acme": ProviderSettings(kind="google", client_id="x")}
    with pytest.raises(CannotStart, match="not https") as refused:
        ConfiguredProviders(Settings(providers=providers, host="0.0.0.0"), SystemClock())
    assert "FORTRESS_PUBLIC_URL" in refused.value.hint
    ConfiguredProviders(Settings(providers=providers, host="0.0.0.0", public_url="https://app.example"), SystemClock())


async def test_a_token_is_itself_to_the_letter(issuer: Issuer) -> None:
    """ASVS V9.1.1: whichever letter is another one, the token is refused."""
    provider = made(kind="oidc", issuer=issuer.url)
    documents = Documents(provider, Outward(), SystemClock())
    said = {"iss": issuer.url, "sub": "x", "aud": CLIENT_ID, "nonce": "n" * 43, "exp": NOW + 60, "iat": NOW}
    text = issuer.signed(said)
    assert (await read_id_token(text, provider, documents, EXPECTED))[0].sub == "x"
    for place, letter in enumerate(text):
        other = "." if letter == "A" else "A"
        with pytest.raises(Untrusted):
            await read_id_token(f"{text[:place]}{other}{text[place + 1 :]}", provider, documents, EXPECTED)
    for less in range(len(text)):
        with pytest.raises(Untrusted):
            await read_id_token(text[:less], provider, documents, EXPECTED)


def test_nothing_large_is_loaded_before_it_is_needed() -> None:
    script = "import sys, fortress.domains; sys.exit(any(name in sys.modules for name in ('authlib', 'httpx')))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=50)


async def test_what_nobody_finished_is_forgotten(world: World, issuer: Issuer) -> None:
    flows = providing(world, issuer)
    await flows.begin(Wish("acme"), None)
    world.clock.advance(LIFE)
    await flows.begin(Wish("acme"), None)
    assert await flows.forget_old() == 1
    assert await world.owner.fetchval("SELECT count(*) FROM provider_flows") == 1


async def test_a_flow_lives_for_ten_minutes(world: World, issuer: Issuer) -> None:
    flows = providing(world, issuer)
    begun = await flows.begin(Wish("acme"), None)
    returned = issuer.authorize(begun.authorization_url)
    world.clock.advance(LIFE)
    with pytest.raises(ProviderFlowLost):
        await flows.take("acme", Response(returned["state"], returned["code"], None, begun.browser))


async def test_the_database_holds_nothing_to_finish_a_sign_in_with(world: World, issuer: Issuer) -> None:
    """ASVS V10.1.2, V14.2.4."""
    begun = await providing(world, issuer).begin(Wish("acme"), None)
    row = await world.owner.fetchval("SELECT f::text FROM provider_flows f")
    state = issuer.authorize(begun.authorization_url)["state"]
    assert not [secret for secret in (begun.browser, state) if secret in row]


async def test_a_cookie_that_we_did_not_make_is_replaced(world: World, issuer: Issuer) -> None:
    flows = providing(world, issuer)
    for planted in ("x", "x" * 44, "ä" * 43, "x" * 42 + "="):
        assert (await flows.begin(Wish("acme"), planted)).browser != planted
    kept = (await flows.begin(Wish("acme"), None)).browser
    assert (await flows.begin(Wish("acme"), kept)).browser == kept


async def test_a_sign_in_ends_only_at_paths_of_the_settings(world: World, issuer: Issuer) -> None:
    with pytest.raises(Invalid):
        await providing(world, issuer).begin(Wish("acme", return_to="/elsewhere"), None)


def providing(world: World, issuer: Issuer) -> ProviderFlows:
    """The service, with one provider."""
    provider = ProviderSettings(kind="oidc", issuer=issuer.url, client_id=CLIENT_ID)
    world.settings = world.settings.model_copy(update={"providers": {"acme": provider}})
    world.container.add(Settings, world.settings)
    return world.get(ProviderFlows)
