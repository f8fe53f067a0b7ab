"""CSRF tokens and origins, apart from any session (ASVS V3.5.1, V11.2)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.clock import FixedClock
from fortress.context import RequestContext
from fortress.http.csrf import CrossSite, Csrf, CsrfTokenRequired
from fortress.http.request import Request
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing, new_ring
from fortress.settings import Environment, Settings

SESSION = UUID("01a2053f-e4f4-737b-a0aa-fca20d01e174")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "post", "LOCK")


def new_keys(folder: Path) -> KeyRing:
    clock = FixedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    keys = FileKeys(folder / "keyring.json")
    keys.ensure(lambda: new_ring(clock.now()))
    return KeyRing(keys, clock)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return new_keys(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def csrf(ring: KeyRing) -> Csrf:
    return Csrf(ring, Settings(public_url="https://shop.example"))


def asked(method: str = "POST", **headers: str) -> Request:
    head = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    scope: dict[str, Any] = {"method": method, "path": "/", "query_string": b""}
    return Request(scope, {b"host": b"shop.example", **head}, nothing, RequestContext("request-1", "127.0.0.1"))


async def nothing() -> dict[str, Any]:
    return {}


def test_in_production_pages_are_reached_by_tls_whatever_we_speak_ourselves(ring: KeyRing) -> None:
    """Behind a proxy that ends TLS, and without FORTRESS_PUBLIC_URL."""
    production = {"env": Environment.PRODUCTION, "database_url": "postgresql://nowhere", "keyring": "keyring.json"}
    csrf = Csrf(ring, Settings.model_validate(production))
    csrf.check_site(asked(origin="https://shop.example"))
    with pytest.raises(CrossSite):
        csrf.check_site(asked(origin="http://shop.example"))


def test_a_token_is_good_for_its_session_alone(csrf: Csrf) -> None:
    csrf.check_token(asked(x_csrf_token=csrf.token(SESSION)), SESSION)
    for session in (uuid4(), UUID(int=SESSION.int + 1), UUID(int=0)):
        with pytest.raises(CsrfTokenRequired):
            csrf.check_token(asked(x_csrf_token=csrf.token(SESSION)), session)


@pytest.mark.parametrize("method", UNSAFE)
def test_every_method_that_is_not_known_to_be_safe_needs_one(csrf: Csrf, method: str) -> None:
    with pytest.raises(CsrfTokenRequired):
        csrf.check_token(asked(method), SESSION)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_needs_none(csrf: Csrf, method: str) -> None:
    csrf.check_token(asked(method), SESSION)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_no_other_text_passes(csrf: Csrf, text: str) -> None:
    with pytest.raises(CsrfTokenRequired):
        csrf.check_token(asked(x_csrf_token=text), SESSION)


def test_a_token_outlives_a_rotation_of_the_masters(csrf: Csrf, ring: KeyRing) -> None:
    before = csrf.token(SESSION)
    ring.rotate_secrets()
    assert csrf.token(SESSION) != before
    for token in (before, csrf.token(SESSION)):
        csrf.check_token(asked(x_csrf_token=token), SESSION)


def test_another_rings_token_is_nothing_here(csrf: Csrf, tmp_path: Path) -> None:
    theirs = Csrf(new_keys(tmp_path), Settings()).token(SESSION)
    with pytest.raises(CsrfTokenRequired):
        csrf.check_token(asked(x_csrf_token=theirs), SESSION)


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        ("POST", {}, True),
        ("POST", {"sec_fetch_site": "same-origin"}, True),
        ("POST", {"sec_fetch_site": "none"}, False),
        ("GET", {"sec_fetch_site": "none"}, True),
        ("GET", {"sec_fetch_site": "same-site"}, False),
        ("GET", {"sec_fetch_site": "cross-site"}, False),
        ("GET", {"sec_fetch_site": "something-new"}, False),
        ("POST", {"origin": "https://shop.example"}, True),
        ("POST", {"origin": "https://shop.example", "sec_fetch_site": "same-origin"}, True),
        ("POST", {"origin": "https://shop.example", "sec_fetch_site": "cross-site"}, False),
        ("POST", {"origin": "https://evil.example", "sec_fetch_site": "same-origin"}, False),
        ("GET", {"origin": "null"}, False),
        ("POST", {"origin": "https://shop.example:443"}, False),
        ("POST", {"origin": "https://SHOP.example"}, False),
        ("POST", {"origin": "https://other.example", "host": "other.example"}, True),
        ("POST", {"origin": "http://other.example", "host": "other.example"}, False),
        ("POST", {"origin": "https://", "host": "x"}, False),
    ],
)
def test_where_a_request_may_have_begun(csrf: Csrf, method: str, headers: dict[str, str], passes: bool) -> None:
    """The name that was called is vetted by the edge before; here it stands for one of ours."""
    try:
        csrf.check_site(asked(method, **headers))
        passed = True
    except CrossSite:
        passed = False
    assert passed is passes
