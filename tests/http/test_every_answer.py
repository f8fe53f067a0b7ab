"""A crawl of every route in every kind of answer: what all answers carry, and what none may (ASVS V3.4, V4.1, V13.4, V14.3, V16.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.http.site import Site

from fortress.http.routes import Route
from fortress.testing.client import NOBODY, Reply

ALWAYS = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "geolocation=(), camera=(), microphone=()",
}
# Assets of the page and the public keys, which anyone may keep.
KEPT = {"/docs/start.js", "/docs/assets/swagger-ui.css", "/.well-known/jwks.json"}
# The page behind a mail's link has a button: a form that posts to where it came from.
FORMS = "/notifications/unsubscribe/"
PROBLEM = {"type", "title", "status", "detail", "instance", "error", "code", "request_id", "timestamp"}
LIMIT_POLICY = re.compile(r'"[a-z]+";q=[1-9]\d*;w=[1-9]\d*')
LIMIT_STATE = re.compile(r'"[a-z]+";r=\d+;t=\d+')
# What would tell of our insides: traces, SQL, paths, addresses in memory, names of what we are made of.
INTERNAL = re.compile(
    rb"Traceback|File \"|SELECT |INSERT |UPDATE |/src/|\.py\b|0x[0-9a-f]{6}|asyncpg|sqlalchemy|pydantic|msgspec|granian|uvloop|PostgreSQL|"
    rb"Python/|sesame-42-marker",
    re.IGNORECASE,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


UNKNOWN_PATHS = (
    "/",
    "/api",
    "/api/v1",
    "/api/v0/products",
    "/api/v3/products",
    "/api/v1/orders/",
    "/api/v1//orders",
    "/api/v1/orders/1",
    "/API/v1/products",
    "/.git/config",
    "/.env",
    "/api/v1/users/me/x.css",
    "/api/v1/users/me;a.js",
    "/api/v1/../../etc/passwd",
    "/docs/assets/../start.js",
    "/docs/assets/x",
    "/\x00",
    "/é",
    "/" + "a" * 9000,
    "/api/v1/orders/\r\nset-cookie: a=b",
)
# What is done at the first version's address, and not there any more at the second's.
ONCE = (
    "end_my_session",
    "revoke_api_key",
    "revoke_api_key_of_user",
    "revoke_key_of_service",
    "remove_service_account",
    "cancel_order",
    "remove_passkey",
    "remove_role",
    "remove_webhook",
    # No provider is configured here, so that none is found: tests of their own have some.
    "start_provider_sign_in",
    "finish_provider_sign_in",
    "start_linking_identity",
    "finish_linking_identity",
    "unlink_identity",
)
OWN_IDS = ("a-caller", "0123456789abcdef", "a.b_c~d-e", "A" * 64)
NO_IDS = ("", "short", "A" * 65, "with space here", "new\nline-here", "é" * 8, "<script>alert</script>", "a,b,c,d,e,f")
ORIGINS = ("null", "https://evil.example", "http://127.0.0.1.evil.example", "http://127.0.0.1:1")
OVERRIDES = ("x-http-method-override", "x-method-override", "x-http-method")


def assert_sound(reply: Reply, where: str, *, kept: bool = False) -> None:
    """What holds for every answer there is."""
    names = [name for name, _ in reply.raw_headers]
    headers = reply.headers
    assert len(names) == len(set(names)) or {n for n in names if names.count(n) > 1} == {b"link"}, (where, names)
    for name, value in ALWAYS.items():
        assert headers.get(name) == value, (where, name)
    policy = headers["content-security-policy"]
    forms = "form-action 'self'" if FORMS in where and reply.status == 200 else "form-action 'none'"
    assert all(part in policy for part in ("default-src 'none'", "base-uri 'none'", forms, "frame-ancestors 'none'")), where
    assert headers["cache-control"].startswith("public") if kept else headers["cache-control"] == "no-store", where
    assert headers["server"] == "", where
    assert not {"x-powered-by", "via", "set-cookie", "access-control-allow-origin"} & set(headers), where
    assert re.fullmatch(r"[A-Za-z0-9._~-]{8,64}", headers["x-request-id"]), where
    assert_content(reply, where)
    if "ratelimit" in headers or reply.status < 500:
        assert LIMIT_POLICY.fullmatch(headers["ratelimit-policy"]), where
        assert LIMIT_STATE.fullmatch(headers["ratelimit"]), where


def assert_content(reply: Reply, where: str) -> None:
    if reply.status == 204:
        assert reply.body == b"", where
        assert not {"content-type", "content-length"} & set(reply.headers), where
        return
    assert "charset=utf-8" in reply.headers["content-type"] or reply.headers["content-type"].startswith("image/"), where


def assert_problem(reply: Reply, where: str, status: int, path: str) -> dict[str, Any]:
    """The one shape of every refusal and fault."""
    assert reply.status == status, (where, reply.status, reply.body)
    assert reply.headers["content-type"] == "application/problem+json; charset=utf-8", where
    document: dict[str, Any] = reply.json()
    assert set(document) >= PROBLEM, (where, document)
    assert set(document) - PROBLEM <= ({"errors"} if status == 422 else {"sku", "left"} if status == 409 else set()), (where, document)
    assert document["status"] == status
    assert document["type"] == f"urn:problem:{document['code']}"
    assert document["instance"] == path, where
    assert document["error"] == document["detail"]
    assert document["request_id"] == reply.headers["x-request-id"]
    assert datetime.fromisoformat(document["timestamp"]).utcoffset() is not None
    assert not INTERNAL.search(reply.body), (where, reply.body)
    assert int(reply.headers["content-length"]) == len(reply.body)
    return document


def distinct(site: Site) -> Iterator[tuple[Route, str]]:
    """Every route at every address; those that end what others need last, and the caller's own sessions at the very end."""
    late = ("remove_webhook", "remove_service_account", "end_my_other_sessions", "sign_out", "change_password")
    yield from sorted(site.addresses(), key=lambda found: late.index(found[0].name) if found[0].name in late else -1)


async def test_every_success_carries_the_same_headers(site: Site) -> None:
    seen: dict[int, int] = {}
    for route, address in distinct(site):
        if "/breaks" in address or route.name in ("sign_out", "change_password", "return_from_provider"):
            continue
        reply = await site.call(route, address)
        where = f"{route.verb} {address} {reply.status}"
        again = route.name in ONCE and reply.status in (404, 409)
        assert reply.status in (200, 201, 202, 204) or again or (address.endswith("/scarce") and reply.status == 429), (where, reply.body)
        assert_sound(reply, where, kept=address in KEPT)
        if reply.status == 201:
            located = await site.client.get(reply.headers["location"], as_=site.caller_of(route))
            assert located.status in (200, 404 if route.name == "sign_up" else 200), where
        seen[reply.status] = seen.get(reply.status, 0) + 1
    assert seen[200] > 20
    assert seen[201] >= 4
    assert seen[204] >= 2


async def test_every_route_says_no_in_the_same_shape_to_nobody(site: Site) -> None:
    for route, address in distinct(site):
        if type(route.policy["allow"]).__name__ == "Public":
            continue
        reply = await site.call(route, address, as_=NOBODY)
        assert_sound(reply, address)
        assert_problem(reply, address, 401, address)
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_every_known_address_refuses_the_methods_it_does_not_have_and_names_those_it_has(site: Site) -> None:
    have: dict[str, set[str]] = {}
    for route, address in site.addresses():
        have.setdefault(address, {"OPTIONS"}).update({route.verb, *(("HEAD",) if route.verb == "GET" else ())})
    for address, verbs in have.items():
        allow = ", ".join(sorted(verbs))
        for method in (*METHODS, "TRACE", "PROPFIND", "get", "X" * 40):
            if method in verbs and method != "OPTIONS":
                continue
            reply = await site.client.call(method, address, as_=site.admin)
            assert_sound(reply, f"{method} {address}")
            assert reply.headers["allow"] == allow, (method, address)
            if method == "OPTIONS":
                assert reply.status == 204
            elif method != "HEAD":
                assert_problem(reply, f"{method} {address}", 405, address)


async def test_head_answers_what_get_answers_without_a_body(site: Site) -> None:
    for route, address in site.addresses():
        if route.verb != "GET" or "/breaks" in address or "/scarce" in address or address.endswith(("/metrics", "/ready")):
            continue
        got = await site.client.get(address, as_=site.admin)
        head = await site.client.call("HEAD", address, as_=site.admin)
        assert (head.status, head.body) == (got.status, b""), address
        assert_sound(head, address, kept=address in KEPT)
        # An export tells of those before it too.
        changing = {"x-request-id", "ratelimit", *(("content-length",) if route.name == "export_me" else ())}
        assert {k: v for k, v in head.headers.items() if k not in changing} == {k: v for k, v in got.headers.items() if k not in changing}


async def test_an_unknown_path_is_not_found_in_the_same_shape(site: Site) -> None:
    for path in UNKNOWN_PATHS:
        reply = await site.client.get(path, as_=site.admin)
        assert_sound(reply, path)
        assert_problem(reply, path, 404, path)


async def test_what_nobody_foresaw_is_a_bare_500_that_tells_nothing(site: Site) -> None:
    for method, body in (("GET", None), ("POST", {"text": "x"})):
        reply = await site.client.call(method, "/api/v1/breaks", json=body, as_=site.admin)
        assert_sound(reply, "500")
        document = assert_problem(reply, "500", 500, "/api/v1/breaks")
        assert document["code"] == "internal"


async def test_the_refusal_beyond_the_limit_says_when_to_come_again(site: Site) -> None:
    assert (await site.api.get("/scarce")).status == 204
    reply = await site.api.get("/scarce")
    assert_sound(reply, "429")
    document = assert_problem(reply, "429", 429, "/api/v1/scarce")
    assert document["code"] == "limit.exceeded"
    left = re.fullmatch(r'"default";r=0;t=(\d+)', reply.headers["ratelimit"])
    assert left is not None
    assert int(reply.headers["retry-after"]) >= int(left[1]) >= 1


async def test_both_versions_of_a_route_share_its_limit(site: Site) -> None:
    assert (await site.api.get("/scarce")).status == 204
    assert (await site.api.get("/scarce", base="/api/v2")).status == 429


async def test_a_callers_own_valid_request_id_is_kept_and_an_invalid_one_replaced(site: Site) -> None:
    for own in OWN_IDS:
        for path in ("/api/v1/products", "/nothing", "/api/v1/breaks"):
            assert (await site.client.get(path, headers={"x-request-id": own})).headers["x-request-id"] == own
    for own in NO_IDS:
        ids = {(await site.client.get("/api/v1/products", headers={"x-request-id": own})).headers["x-request-id"] for _ in range(3)}
        assert len(ids - {own}) == 3


async def test_no_origin_is_let_in(site: Site) -> None:
    for origin in ORIGINS:
        asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        for method, path in (("OPTIONS", "/api/v1/orders"), ("GET", "/api/v1/products")):
            reply = await site.client.call(method, path, headers=asked)
            assert not [name for name in reply.headers if name.startswith("access-control-")]
            assert origin == "null" or origin.encode() not in reply.body


async def test_no_header_changes_the_method(site: Site) -> None:
    order = site.filled("/api/v1/orders/{order_id:uuid}")
    for override in OVERRIDES:
        assert (await site.client.get(order, headers={override: "DELETE"}, as_=site.admin)).status == 200


async def test_a_token_in_the_query_is_not_a_credential(site: Site) -> None:
    token = site.admin.headers["authorization"].removeprefix("Bearer ")
    reply = await site.client.get(f"/api/v1/users/me?access_token={token}")
    assert reply.status == 401
    assert token.encode() not in reply.body


async def test_the_link_to_the_next_page_keeps_what_was_asked_for(site: Site) -> None:
    first = await site.client.get("/api/v1/audit?limit=1&since=2026-01-01T00:00:00Z", as_=site.admin)
    assert first.status == 200, first.body
    linked = re.fullmatch(r'<(.+)>; rel="next"', first.headers["link"])
    assert linked is not None
    assert "since=2026-01-01T00%3A00%3A00Z" in linked[1]
    second = await site.client.get(linked[1], as_=site.admin)
    assert second.status == 200, second.body
    assert second.json()["items"][0]["id"] != first.json()["items"][0]["id"]
