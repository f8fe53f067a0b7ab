"""An issuer that others wrote, told to lie: what it signs is well-formed and still not believed."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from tests.providers.browser import Browser
from tests.providers.conftest import SECRET

from fortress.settings import ProviderSettings, Settings


@pytest.fixture
def settings(settings: Settings, mock_server: tuple[str, str]) -> Settings:
    mock = ProviderSettings(kind="oidc", issuer=mock_server[0], client_id="fortress", client_secret=SecretStr(SECRET))
    return settings.model_copy(update={"providers": {"mock": mock}})


async def behaving(mock_server: tuple[str, str], told: dict[str, Any]) -> None:
    async with httpx.AsyncClient() as client:
        await client.post(mock_server[1], json=told)


async def sent_back(url: str) -> dict[str, str]:
    async with httpx.AsyncClient() as there:
        answer = await there.get(url)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


async def test_what_is_true_is_believed(browser: Browser, mock_server: tuple[str, str]) -> None:
    await behaving(mock_server, {})
    reply = await browser.complete(await sent_back(await browser.start("mock")), "mock")
    assert reply.status == 200, reply.body


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"claims": {"iss": "https://evil.example"}}, "issuer"),
    "audience": ({"claims": {"aud": "another"}}, "audience"),
    "audience of several": ({"claims": {"aud": ["fortress", "another"]}}, "audience"),
    "authorized party": ({"claims": {"azp": "another"}}, "authorized_party"),
    "nonce": ({"claims": {"nonce": "of another"}}, "nonce"),
    "no nonce": ({"claims": {"nonce": None}}, "nonce"),
    "no subject": ({"claims": {"sub": None}}, "claims"),
    "expired": ({"claims": {"exp": int(time.time()) - 3600}}, "expired"),
    "of the future": ({"claims": {"iat": int(time.time()) + 3600}}, "too_early"),
    "key id": ({"header": {"kid": "unknown"}}, "key"),
    "token refused": ({"token": {"status": 400, "body": {"error": "invalid_grant"}}}, "refused"),
    "no token": ({"token": {"body": {"id_token": None}}}, "no_id_token"),
}


async def test_what_is_not_is_refused(browser: Browser, mock_server: tuple[str, str], rows: asyncpg.Connection[asyncpg.Record]) -> None:
    """ASVS V6.8.2, V10.5.1, V10.5.2, V10.5.4."""
    found = {}
    for lie, (told, _) in LIES.items():
        await behaving(mock_server, told)
        reply = await browser.complete(await sent_back(await browser.start("mock")), "mock")
        said = "SELECT detail->>'fault' FROM audit_log WHERE action = 'auth.provider_refused' ORDER BY tx DESC, seq DESC LIMIT 1"
        found[lie] = (reply.status, reply.code, await rows.fetchval(said))
    assert found == {lie: (401, "auth.provider_not_trusted", fault) for lie, (_, fault) in LIES.items()}


async def test_an_unverified_address_makes_no_account(browser: Browser, mock_server: tuple[str, str]) -> None:
    await behaving(mock_server, {"claims": {"email_verified": False}})
    assert (await browser.complete(await sent_back(await browser.start("mock")), "mock")).code == "auth.provider_email_unverified"


async def test_an_issuer_that_is_down_is_no_fault_of_ours(browser: Browser, mock_server: tuple[str, str]) -> None:
    await behaving(mock_server, {"token": {"status": 500}})
    reply = await browser.complete(await sent_back(await browser.start("mock")), "mock")
    assert (reply.status, reply.code) == (503, "auth.provider_unavailable")
