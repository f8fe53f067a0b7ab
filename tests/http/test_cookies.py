"""How session cookies are named, set and read (ASVS V3.3); what they do is tests/domains/identity/test_cookies.py's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.http.site import Site

from fortress.context import RequestContext
from fortress.http.cookies import MOST_BYTES, RepeatedCookie, SessionCookies, read_cookie
from fortress.http.request import Request
from fortress.settings import Environment, Settings
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

PRODUCTION: dict[str, Any] = {
    "env": Environment.PRODUCTION,
    "database_url": SecretStr("postgresql://nowhere"),
    "keyring": "keyring.json",
}


def reading(cookies: str, name: str = "a") -> str | None:
    scope: dict[str, Any] = {"method": "GET", "path": "/", "query_string": b""}
    return read_cookie(Request(scope, {b"cookie": cookies.encode("latin-1")}, _nothing, RequestContext("request-1", "127.0.0.1")), name)


async def _nothing() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("settings", "guarded"),
    [
        ({}, False),
        ({"public_url": "http://shop.example"}, False),
        ({"public_url": "https://shop.example"}, True),
        (PRODUCTION, True),
        ({**PRODUCTION, "public_url": "http://shop.example"}, True),
    ],
)
def test_only_development_without_tls_goes_without_prefix_and_secure(settings: dict[str, Any], *, guarded: bool) -> None:
    """ASVS V3.3.1: production never, whatever its address is said to be."""
    cookies = SessionCookies(Settings(**settings))
    _, value = cookies.keep(cookies.access, "x", 60)
    assert cookies.access.startswith("__Host-") is cookies.refresh.startswith("__Host-") is guarded
    assert (b"; Secure" in value) is guarded
    for _, each in (*cookies.drop(), (b"", value)):
        assert {b"Path=/", b"HttpOnly", b"SameSite=Strict"} <= set(each.split(b"; "))
        assert b"Domain" not in each


def test_what_no_browser_would_keep_is_never_sent() -> None:
    """ASVS V3.3.5."""
    cookies = SessionCookies(Settings())
    fits = MOST_BYTES - len(cookies.access)
    cookies.keep(cookies.access, "x" * fits, 60)
    with pytest.raises(ValueError, match="4096"):
        cookies.keep(cookies.access, "x" * (fits + 1), 60)


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ("a=1", "1"),
        ("b=2; a=1", "1"),
        ("b=2;a=1;c=3", "1"),
        ("a=1=2", "1=2"),
        ("a=", None),
        ("a", None),
        ("ab=1", None),
        ("ba=1", None),
        ("A=1", None),
        ("", None),
        ('b="; a=1', "1"),
    ],
)
def test_a_cookie_is_found_by_its_whole_name(cookies: str, value: str | None) -> None:
    assert reading(cookies) == value


@pytest.mark.parametrize("cookies", ["a=1; a=2", "a=1; a=1", "a=; a=1", "a=1; b=2; a="])
def test_two_of_one_name_are_refused(cookies: str) -> None:
    with pytest.raises(RepeatedCookie):
        reading(cookies)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_no_header_breaks_the_reader(cookies: str) -> None:
    try:
        reading(cookies)
    except RepeatedCookie:
        assert cookies.count("a=") > 1


async def test_reading_by_cookie_sets_none(site: Site) -> None:
    """Cookies come with a sign-in, a refresh and a sign-out, and with no other answer."""
    admin = await site.callers.in_browser("administrator", ADMIN, ADMIN_PASSWORD)
    answered = set[int]()
    for route, address in site.addresses():
        if route.verb != "GET":
            continue
        for method in ("GET", "HEAD", "OPTIONS", "LOCK"):
            reply = await site.client.call(method, address, headers=admin.headers)
            assert b"set-cookie" not in dict(reply.raw_headers), (method, address)
            answered.add(reply.status)
    assert {200, 204, 404, 405} <= answered
