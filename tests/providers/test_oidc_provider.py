"""Signing in with an issuer that others have certified, over real sockets, in every algorithm that it signs with."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from tests.providers.browser import Browser
from tests.providers.conftest import ORIGIN, SECRET

from fortress.settings import ProviderSettings, Settings
from fortress.testing.client import Caller, Client

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
_ACTION: Final = re.compile(r'action="([^"]+)"')
_STEPS: Final = 12


@pytest.fixture
def settings(settings: Settings, oidc_provider: str) -> Settings:
    shared: dict[str, Any] = {"kind": "oidc", "issuer": oidc_provider}
    providers = {alg.lower(): ProviderSettings(client_id=f"client-{alg}", client_secret=SecretStr(SECRET), **shared) for alg in ALGORITHMS}
    providers["wrong"] = ProviderSettings(
        client_id="client-RS256",
        client_secret=SecretStr("not it"),
        redirect_uri=f"{ORIGIN}/api/v1/auth/providers/rs256/callback",
        **shared,
    )
    return settings.model_copy(update={"providers": providers, "return_paths": ("/", "/welcome")})


async def sent_back(url: str, person: str) -> dict[str, str]:
    """What the issuer sends back, once this person has signed in there and agreed."""
    async with httpx.AsyncClient() as there:
        answer = await there.get(url)
        for _ in range(_STEPS):
            if answer.is_redirect:
                following = str(answer.next_request.url) if answer.next_request else ""
                if following.startswith(ORIGIN):
                    return dict(parse_qsl(urlsplit(following).query))
                answer = await there.get(following)
                continue
            action = _ACTION.search(answer.text)
            assert action is not None, answer.text[:500]
            prompt = "login" if 'name="login"' in answer.text else "consent"
            answer = await there.post(action[1], data={"prompt": prompt, "login": person, "password": "any"})
    raise AssertionError("the issuer never sent anybody back")


async def email_of(client: Client, pair: dict[str, Any]) -> str:
    caller = Caller("somebody", headers={"authorization": f"Bearer {pair['access_token']}"})
    return str((await client.get("/users/me", as_=caller)).json()["email"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_somebody_signs_up_and_in(algorithm: str, browser: Browser, client: Client) -> None:
    name = algorithm.lower()
    returned = await sent_back(await browser.start(name), "ann")
    assert returned.keys() == {"code", "state", "iss"}
    first = await browser.complete(returned, name)
    assert first.status == 200, first.body
    assert await email_of(client, first.json()) == "ann@example.com"
    second = await browser.complete(await sent_back(await browser.start(name), "ann"), name)
    assert await email_of(client, second.json()) == "ann@example.com"


async def test_a_whole_callback_ends_in_cookies(browser: Browser) -> None:
    returned = await sent_back(await browser.start("es256", redirect_to="/welcome"), "ann")
    query = str(httpx.QueryParams(returned))
    reply = await browser.get(f"/auth/providers/es256/callback?{query}")
    assert (reply.status, reply.headers["location"]) == (303, "/welcome")
    assert (await browser.get("/users/me")).json()["email"] == "ann@example.com"
    again = await browser.get(f"/auth/providers/es256/callback?{query}")
    assert (again.status, again.code) == (401, "auth.provider_flow_lost")


async def test_a_fresh_proof_is_signed_with_its_time(browser: Browser) -> None:
    """ASVS V6.8.4: `auth_time` is there because max_age was asked."""
    returned = await sent_back(await browser.start("rs256", fresh=True), "ann")
    assert (await browser.complete(returned, "rs256")).status == 200


async def test_an_address_that_the_issuer_does_not_vouch_for_makes_no_account(browser: Browser) -> None:
    returned = await sent_back(await browser.start("rs256"), "unverified")
    assert (await browser.complete(returned, "rs256")).code == "auth.provider_email_unverified"


async def test_the_code_of_another_sign_in_is_not_redeemed(client: Client) -> None:
    """RFC 7636: the issuer holds the code against the challenge of the browser that it was for."""
    ann, eve = Browser(client), Browser(client)
    of_ann = await sent_back(await ann.start("rs256"), "ann")
    of_eve = await sent_back(await eve.start("rs256"), "eve")
    assert (await eve.complete(of_eve | {"code": of_ann["code"]}, "rs256")).code == "auth.provider_not_trusted"


async def test_a_wrong_client_secret_is_refused_by_the_issuer(browser: Browser) -> None:
    returned = await sent_back(await browser.start("wrong"), "ann")
    assert (await browser.complete(returned, "wrong")).code == "auth.provider_not_trusted"


async def test_what_was_refused_there_is_refused_here(browser: Browser) -> None:
    url = await browser.start("rs256")
    state = dict(parse_qsl(urlsplit(url).query))["state"]
    issuer = url.partition("/auth?")[0]
    refused = await browser.complete({"state": state, "iss": issuer, "error": "access_denied"}, "rs256")
    assert (refused.status, refused.code) == (401, "auth.provider_declined")
