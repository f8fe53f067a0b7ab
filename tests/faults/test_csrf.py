"""What another site can have a browser send changes nothing: real servers, real cookies, every way in (ASVS V3.3, V3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import asyncpg
import msgspec
import pytest
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.testing.callers import FROM_OUR_PAGE, PASSWORD, Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

pytestmark = pytest.mark.faults

ORDER: Final = {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}
# What changes something for whoever is signed in, and what of it is in a body.
CHANGES: Final[dict[str, tuple[str, str, Any]]] = {
    "sign out": ("POST", "/auth/logout", None),
    "sign out elsewhere": ("DELETE", "/users/me/sessions", None),
    "refresh": ("POST", "/auth/refresh", {}),
    "change the password": ("POST", "/users/me/password", {"current_password": PASSWORD, "new_password": "chosen by a thief"}),
    "make a key": ("POST", "/api-keys", {"name": "thief", "scopes": ["account:read"]}),
    "order": ("POST", "/orders", ORDER),
    "be erased": ("DELETE", "/users/me", {"password": PASSWORD}),
}
# All that is kept of what the changes above would change, in one text.
STATE: Final = """
SELECT md5(string_agg(row, '|' ORDER BY row)) FROM (
    SELECT 'u' || id || coalesce(password_hash, '') || status FROM users
    UNION ALL SELECT 's' || id || generation || coalesce(revoked_at::text, '') FROM sessions
    UNION ALL SELECT 'k' || id || coalesce(revoked_at::text, '') FROM api_keys
    UNION ALL SELECT 'o' || id || status FROM orders
) AS kept(row)
"""


class Page:
    """A browser in which somebody is signed in by cookies, and what is sent from it."""

    def __init__(self, client: LiveClient, caller: Caller, port: int) -> None:
        self.client, self.caller = client, caller
        self.origin = f"http://127.0.0.1:{port}"

    @property
    def cookies(self) -> dict[str, str]:
        return {"cookie": self.caller.headers["cookie"]}

    @property
    def token(self) -> dict[str, str]:
        return {"x-csrf-token": self.caller.headers["x-csrf-token"]}


def forgeries(page: Page, other: str) -> dict[str, dict[str, str]]:
    """The headers that a request may come with which no page of ours has sent."""
    ours, host = {**page.token, **FROM_OUR_PAGE}, page.origin.removeprefix("http://")
    port = int(host.rpartition(":")[2])
    origins = {
        "null": "null",
        "suffix": f"{page.origin}.evil.example",
        "prefix": f"http://evil.example/{host}",
        "another port": f"http://127.0.0.1:{port + 1}",
        "another scheme": f"https://{host}",
        "case": page.origin.replace("http", "HTTP"),
        "user": f"http://x@{host}",
        "slash": f"{page.origin}/",
        "two": f"{page.origin}, {page.origin}",
        "a neighbour": f"http://localhost:{port}",
        "empty": "",
    }
    return {
        "no token": FROM_OUR_PAGE,
        "no token, nothing said": {},
        "a token of another session": {**FROM_OUR_PAGE, "x-csrf-token": other},
        "a token cut short": {**FROM_OUR_PAGE, "x-csrf-token": page.token["x-csrf-token"][:-1]},
        "a token in another header": {**FROM_OUR_PAGE, "x-xsrf-token": page.token["x-csrf-token"]},
        "cross-site": {**ours, "sec-fetch-site": "cross-site"},
        "same-site": {**ours, "sec-fetch-site": "same-site"},
        "by hand": {**ours, "sec-fetch-site": "none"},
        **{f"origin: {name}": {**ours, "origin": origin} for name, origin in origins.items()},
    }


@pytest.fixture
async def page(server: Server, client: LiveClient, callers: Callers) -> Page:
    name = f"person{id(client)}"
    await callers.person(name)
    return Page(client, await callers.in_browser(name, f"{name}@example.com"), server.port)


@pytest.fixture
def kept(owner: Connection) -> Callable[[], Any]:
    """Tells what is kept, in one text."""
    return lambda: owner.fetchval(STATE)


@pytest.mark.parametrize("change", CHANGES)
async def test_what_no_page_of_ours_has_sent_changes_nothing(page: Page, callers: Callers, change: str, kept: Callable[[], Any]) -> None:
    other = (await callers.in_browser("other", page.caller.email)).headers["x-csrf-token"]
    method, path, body = CHANGES[change]
    before = await kept()
    for name, headers in forgeries(page, other).items():
        refused = await page.client.call(method, path, json=body, headers={**page.cookies, **headers})
        assert refused.status == 403, (name, refused.body)
        assert refused.code in ("auth.cross_site", "auth.csrf_token_required"), name
        assert b"set-cookie" not in dict(refused.raw_headers), name
    assert await kept() == before


@pytest.mark.parametrize("change", CHANGES)
async def test_the_same_from_a_page_of_ours_does(page: Page, change: str, kept: Callable[[], Any]) -> None:
    """So that the refusals above are of the forgery, and not of something else."""
    method, path, body = CHANGES[change]
    await page.client.post("/auth/login", {"email": page.caller.email, "password": PASSWORD})
    before = await kept()
    done = await page.client.call(method, path, json=body, headers={**page.caller.headers, "origin": page.origin})
    assert done.status in (200, 201, 204), done.body
    assert await kept() != before


@pytest.mark.parametrize("change", CHANGES)
async def test_a_form_of_another_site_changes_nothing(page: Page, change: str, kept: Callable[[], Any]) -> None:
    """ASVS V3.5.1 to V3.5.3: what a form can send without asking first, of browsers that say where it began and of those that don't."""
    method, path, body = CHANGES[change]
    json = msgspec.json.encode(body if body is not None else {})
    kinds = {
        "text/plain": json[:-1] + b', "x": "="}' if body else json,
        "application/x-www-form-urlencoded": urlencode({json.decode(): ""}).encode(),
        "multipart/form-data; boundary=b": b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n' + json + b"\r\n--b--\r\n",
        "text/plain; application/json": json,
        "": json,
    }
    before = await kept()
    for said in ({}, {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, {"origin": "null"}):
        for kind, content in kinds.items():
            headers = {**page.cookies, **said, **({"content-type": kind} if kind else {})}
            for verb in {method, "POST", "GET"}:
                reply = await page.client.call(verb, path, body=content, headers=headers)
                assert reply.status in (400, 403, 404, 405, 415) or verb == "GET", (kind, verb, reply.status)
            overridden = await page.client.call("POST", path, body=content, headers={**headers, "x-http-method-override": method})
            assert overridden.status >= 400
    assert await kept() == before


async def test_another_site_can_sign_nobody_in(page: Page, kept: Callable[[], Any]) -> None:
    """Login CSRF: whoever is signed in as somebody else tells that person their secrets."""
    body = {"email": page.caller.email, "password": PASSWORD, "session": "cookie"}
    before = await kept()
    for said in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "null"}, {"origin": "https://evil.example"}):
        refused = await page.client.post("/auth/login", body, headers=said)
        assert (refused.status, refused.code) == (403, "auth.cross_site")
        assert b"set-cookie" not in dict(refused.raw_headers)
    form = await page.client.call("POST", "/auth/login", body=msgspec.json.encode(body), headers={"content-type": "text/plain"})
    assert form.status == 415
    assert await kept() == before


async def test_tossed_cookies_are_refused_by_every_worker(server: Server, page: Page, callers: Callers, address: Callable[[], str]) -> None:
    """A neighbour below the same domain plants a cookie of the same name: nobody can tell which is which."""
    eve = await callers.person(f"eve{id(page)}")
    planted = eve.headers["authorization"].removeprefix("Bearer ")
    own = page.caller.headers["cookie"]
    name = own.partition("=")[0]
    async with each_worker(server, address) as workers:
        for client in workers.values():
            for cookies in (f"{name}={planted}; {own}", f"{own}; {name}={planted}", f"{own}; {name}=", f"{own}; {own}"):
                refused = await client.get("/users/me", headers={**page.caller.headers, "cookie": cookies})
                assert (refused.status, refused.code) == (400, "auth.cookie_twice")


async def test_no_cookie_and_no_token_is_in_any_log(server: Server, page: Page) -> None:
    """ASVS V14.2.1, V16.2.5: nor when it is refused."""
    secrets = [pair.partition("=")[2] for pair in page.caller.headers["cookie"].split("; ")] + [page.token["x-csrf-token"]]
    assert len(secrets) == 3
    for headers in forgeries(page, "x").values():
        await page.client.post("/orders", ORDER, headers={**page.cookies, **headers})
    last = await page.client.get("/users/me", headers={**page.caller.headers, "cookie": page.caller.headers["cookie"] + "; x"})
    server.wait_for_line(event="request", request_id=last.headers["x-request-id"])
    written = "\n".join(str(line) for line in server.log_lines())
    assert not [secret for secret in secrets if secret in written]
