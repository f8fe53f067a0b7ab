"""Sessions in cookies, as browsers and those who would misuse them meet them (ASVS V3.3, V3.5, V7, V14.3.1)."""

from __future__ import annotations

import re
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest

from fortress import Fortress
from fortress.clock import SystemClock
from fortress.http.cookies import MOST_BYTES
from fortress.settings import Settings
from fortress.testing.callers import FROM_OUR_PAGE, PASSWORD, Callers, cookies_of
from fortress.testing.client import Caller, Client, Reply

ACCESS, REFRESH = "__Host-fortress-access", "__Host-fortress-refresh"
OURS = "https://shop.example"
FOREIGN_ORIGINS = [
    "null",
    "https://evil.example",
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://shop.example:8443",
    "http://shop.example",
    "HTTPS://SHOP.EXAMPLE",
    "https://shop.example/",
    "https://shop.example.",
    "",
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"public_url": OURS})


async def sign_in(client: Client, **headers: str) -> Reply:
    body = {"email": "ann@example.com", "password": PASSWORD, "session": "cookie"}
    return await client.post("/auth/login", body, headers=headers)


def sent_by(reply: Reply, **headers: str) -> dict[str, str]:
    """The headers of a page of ours whose browser got this answer."""
    return {**FROM_OUR_PAGE, "cookie": cookies_of(reply), "x-csrf-token": reply.json()["csrf_token"], **headers}


def set_cookies(reply: Reply) -> dict[str, str]:
    values = [value.decode() for name, value in reply.raw_headers if name == b"set-cookie"]
    return {value.partition("=")[0]: value for value in values}


@pytest.fixture
async def ann(callers: Callers) -> Caller:
    await callers.person("ann")
    return await callers.in_browser("ann", "ann@example.com")


async def test_the_tokens_are_in_cookies_that_no_script_reads_and_no_other_site_sends(client: Client, callers: Callers) -> None:
    """ASVS V3.3.1 to V3.3.5."""
    await callers.person("ann")
    reply = await sign_in(client, **FROM_OUR_PAGE)
    body = reply.json()
    assert (set(body), body["token_type"], body["expires_in"]) == ({"token_type", "expires_in", "csrf_token"}, "cookie", 600)
    found = set_cookies(reply)
    assert set(found) == {ACCESS, REFRESH}
    for name, value in found.items():
        parts = set(value.split("; ")[1:])
        lasts = 600 if name == ACCESS else 14 * 86400
        assert parts == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict", f"Max-Age={lasts}"}
        pair = value.split("; ")[0]
        assert len(pair) < MOST_BYTES
        assert pair.partition("=")[2] not in reply.body.decode()
        assert SimpleCookie(value)


async def test_a_cookie_is_the_session_that_a_header_would_be(client: Client, ann: Caller) -> None:
    me = await client.get("/users/me", as_=ann)
    assert me.json()["email"] == "ann@example.com"
    sessions = (await client.get("/users/me/sessions", as_=ann)).json()["items"]
    assert [one["current"] for one in sessions].count(True) == 1
    made = await client.post("/users/me/password", {"current_password": PASSWORD, "new_password": "quite another one"}, as_=ann)
    assert made.status == 204


async def test_cookies_in_pieces_are_one(client: Client, ann: Caller, running: object) -> None:
    """RFC 9113 §8.2.3: HTTP/2 may split them."""
    pairs = ann.headers["cookie"].split("; ")
    for order in (pairs, pairs[::-1]):
        cookies = [(b"cookie", pair.encode()) for pair in order]
        scope = {**SCOPE, "headers": [(b"host", b"127.0.0.1"), *cookies], "path": "/api/v1/users/me"}
        assert await status_of(running, scope) == 200


@pytest.mark.parametrize("name", [ACCESS, REFRESH])
async def test_two_cookies_of_one_name_are_refused(client: Client, callers: Callers, ann: Caller, name: str) -> None:
    """A neighbour below the same domain could plant one; which is which nobody can tell (ASVS V3.3.3)."""
    eve = await callers.person("eve")
    planted = {**ann.headers, "cookie": f"{name}=planted; {ann.headers['cookie']}"}
    address = "/users/me" if name == ACCESS else "/auth/csrf"
    refused = await client.get(address, headers=planted)
    assert (refused.status, refused.code) == (400, "auth.cookie_twice")
    assert (await client.get("/users/me", as_=eve)).status == 200


async def test_cookies_of_other_names_do_not_matter(client: Client, ann: Caller) -> None:
    noise = f"fortress-access=x; {ACCESS}2=y; x{ACCESS}=z; {ann.headers['cookie']}; theme=dark; broken; =; a=b=c"
    assert (await client.get("/users/me", headers={**ann.headers, "cookie": noise})).status == 200
    cased = ann.headers["cookie"].replace(ACCESS, ACCESS.lower())
    assert (await client.get("/users/me", headers={**ann.headers, "cookie": cased})).status == 401


async def test_what_a_header_says_wins_over_what_the_browser_adds(client: Client, callers: Callers, ann: Caller) -> None:
    """An explicit credential is meant, good or bad: it never falls back to the cookie."""
    eve = await callers.person("eve")
    both = {**ann.headers, **eve.headers}
    assert (await client.get("/users/me", headers=both)).json()["email"] == "eve@example.com"
    for bad in ({"authorization": "Bearer no"}, {"authorization": "Basic eA=="}, {"x-api-key": "fort_no"}):
        assert (await client.get("/users/me", headers={**ann.headers, **bad})).status == 401
    foreign = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    assert (await client.get("/users/me", headers={**both, **foreign})).status == 200, "no cookie is looked at, so nothing is forged"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none ", "", "SAME-ORIGIN", "same-origin, same-origin"])
async def test_cookies_of_a_request_that_began_elsewhere_are_refused_even_to_read(client: Client, ann: Caller, site: str) -> None:
    """ASVS V3.5.8."""
    refused = await client.get("/users/me", headers={**ann.headers, "sec-fetch-site": site})
    assert (refused.status, refused.code) == (403, "auth.cross_site")


async def test_what_a_person_opens_by_hand_may_be_read_and_not_changed(client: Client, ann: Caller) -> None:
    by_hand = {**ann.headers, "sec-fetch-site": "none"}
    assert (await client.get("/users/me", headers=by_hand)).status == 200
    assert (await client.post("/auth/logout", headers=by_hand)).code == "auth.cross_site"


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_an_origin_that_is_not_ours_letter_by_letter_is_refused(client: Client, ann: Caller, origin: str) -> None:
    """ASVS V3.5.1; also where the browser says nothing else."""
    silent = {name: value for name, value in ann.headers.items() if name != "sec-fetch-site"}
    for headers in (ann.headers, silent):
        refused = await client.post("/auth/logout", headers={**headers, "origin": origin})
        assert (refused.status, refused.code) == (403, "auth.cross_site")
    assert (await client.get("/users/me", as_=ann)).status == 200


@pytest.mark.parametrize("origin", [OURS, "https://127.0.0.1"])
async def test_our_origin_is_the_public_one_or_the_one_that_was_called(client: Client, ann: Caller, origin: str) -> None:
    assert (await client.post("/auth/logout", headers={**ann.headers, "origin": origin})).status == 204


async def test_what_changes_something_needs_the_token_of_its_session(client: Client, callers: Callers, ann: Caller) -> None:
    """ASVS V3.5.1: absent, of another session, of no session, changed by a letter, or in the wrong place."""
    token = ann.headers["x-csrf-token"]
    other = (await callers.in_browser("ann", "ann@example.com")).headers["x-csrf-token"]
    flipped = ("A" if token[0] != "A" else "B") + token[1:]
    without = {name: value for name, value in ann.headers.items() if name != "x-csrf-token"}
    for wrong in ({}, *({"x-csrf-token": text} for text in (other, flipped, token + "A", token[:-1], "", "A" * 48, "é" * 24))):
        refused = await client.post("/auth/logout", headers={**without, **wrong})
        assert (refused.status, refused.code) == (403, "auth.csrf_token_required"), wrong
    for place in (f"?csrf_token={token}", f"?X-CSRF-Token={token}"):
        assert (await client.post(f"/auth/logout{place}", headers=without)).status == 403
    assert (await client.get("/users/me", as_=ann)).status == 200
    assert (await client.get("/users/me", headers=without)).status == 200, "reading needs none"


async def test_a_page_that_forgot_the_token_can_ask_for_it(client: Client, ann: Caller) -> None:
    cookies = {"cookie": ann.headers["cookie"]}
    told = await client.get("/auth/csrf", headers=cookies | FROM_OUR_PAGE)
    assert told.json() == {"csrf_token": ann.headers["x-csrf-token"]}
    assert (await client.get("/auth/csrf", headers=cookies | {"sec-fetch-site": "cross-site"})).status == 403
    assert (await client.get("/auth/csrf")).code == "auth.invalid_refresh_token"
    assert (await client.get("/auth/csrf", headers={"cookie": f"{REFRESH}=fr_no"})).status == 401


async def test_refreshing_by_cookie_turns_both_over(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    first = await sign_in(client, **FROM_OUR_PAGE)
    second = await client.post("/auth/refresh", {}, headers=sent_by(first))
    assert second.status == 200, second.body
    assert set(set_cookies(second)) == {ACCESS, REFRESH}
    assert cookies_of(second) != cookies_of(first)
    assert second.json()["csrf_token"] == first.json()["csrf_token"], "one session, one token: other tabs go on"
    assert (await client.get("/users/me", headers=sent_by(second))).status == 200


async def test_a_browser_forgets_cookies_that_are_refused(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    signed = await sign_in(client, **FROM_OUR_PAGE)
    assert (await client.post("/auth/logout", headers=sent_by(signed))).status == 204
    refused = await client.post("/auth/refresh", {}, headers=sent_by(signed))
    assert refused.code == "auth.invalid_refresh_token"
    assert {name: kept.split("; ")[:2] for name, kept in set_cookies(refused).items()} == {
        name: [f"{name}=", "Max-Age=0"] for name in (ACCESS, REFRESH)
    }


async def test_refreshing_by_cookie_needs_a_page_of_ours(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    headers = sent_by(await sign_in(client, **FROM_OUR_PAGE))
    for wrong in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"origin": "null"}, {"x-csrf-token": "A" * 48}):
        refused = await client.post("/auth/refresh", {}, headers=headers | wrong)
        assert refused.status == 403
        assert not set_cookies(refused)
    assert (await client.post("/auth/refresh", {})).code == "auth.invalid_refresh_token"
    assert (await client.post("/auth/refresh", {}, headers=headers)).status == 200, "nothing of it used the token up"


async def test_a_refresh_token_in_the_body_works_as_ever(client: Client, callers: Callers) -> None:
    await callers.person("ann")
    pair = await callers.tokens("ann@example.com")
    again = await client.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
    assert set(again.json()) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert again.json()["token_type"] == "Bearer"
    assert not set_cookies(again)


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {"origin": "null"}])
async def test_another_site_can_not_sign_a_browser_in(client: Client, callers: Callers, headers: dict[str, str]) -> None:
    """Login CSRF; and no session is begun for it."""
    ann = await callers.person("ann")
    refused = await sign_in(client, **headers)
    assert (refused.status, refused.code) == (403, "auth.cross_site")
    assert not set_cookies(refused)
    assert len((await client.get("/users/me/sessions", as_=ann)).json()["items"]) == 1


async def test_signing_in_again_ends_the_session_that_the_browser_had(
    client: Client, callers: Callers, ann: Caller, running: Fortress
) -> None:
    """ASVS V7.2.4; whoever it is that signs in, and only by a browser that had one."""
    eve = await callers.person("eve")
    body = {"email": "eve@example.com", "password": PASSWORD, "session": "cookie"}
    assert (await client.post("/auth/login", body, headers=ann.headers)).status == 200
    assert running.runtime is not None
    await running.runtime.background.finish(5)
    assert (await client.get("/users/me", as_=ann)).status == 401
    assert (await client.get("/users/me", as_=eve)).status == 200
    for odd in ("fr_nonsense", f"x; {REFRESH}=y"):
        assert (await client.post("/auth/login", body, headers={**FROM_OUR_PAGE, "cookie": f"{REFRESH}={odd}"})).status == 200


async def test_signing_out_clears_the_cookies_and_what_the_browser_kept(client: Client, callers: Callers, ann: Caller) -> None:
    """ASVS V7.4.1, V14.3.1."""
    left = await client.post("/auth/logout", as_=ann)
    assert left.status == 204
    assert left.headers["clear-site-data"] == '"cache", "storage"'
    found = set_cookies(left)
    assert set(found) == {ACCESS, REFRESH}
    for value in found.values():
        assert re.fullmatch(r"[\w-]+=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict; Secure", value)
    assert (await client.get("/users/me", as_=ann)).status == 401
    assert (await client.post("/auth/refresh", {}, headers=ann.headers)).status == 401
    eve = await callers.person("eve")
    by_header = await client.post("/auth/logout", as_=eve)
    assert "clear-site-data" in by_header.headers
    assert not set_cookies(by_header)


async def test_signing_out_everywhere_else_leaves_this_session(client: Client, callers: Callers, ann: Caller) -> None:
    """ASVS V7.4.3."""
    others = [await callers.sign_in("ann", "ann@example.com", PASSWORD), await callers.in_browser("ann", "ann@example.com")]
    assert (await client.delete("/users/me/sessions", as_=ann)).status == 204
    assert [(await client.get("/users/me", as_=other)).status for other in others] == [401, 401]
    assert (await client.get("/users/me", as_=ann)).status == 200
    assert len((await client.get("/users/me/sessions", as_=ann)).json()["items"]) == 1


async def test_an_administrator_can_sign_somebody_out_everywhere(client: Client, callers: Callers, ann: Caller) -> None:
    """ASVS V7.4.5."""
    admin = await callers.administrator()
    assert (await client.delete(f"/users/{admin.id}/sessions", as_=ann)).status == 403
    assert (await client.delete(f"/users/{ann.id}/sessions", as_=admin)).status == 204
    assert (await client.get("/users/me", as_=ann)).status == 401
    assert (await client.delete("/users/01a2053f-e4f4-737b-a0aa-fca20d01e174/sessions", as_=admin)).status == 404


async def status_of(app: object, scope: dict[str, object]) -> int:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[operator]  # an ASGI application
    return int(str(sent[0]["status"]))


SCOPE: dict[str, object] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "2",
    "method": "GET",
    "scheme": "http",
    "raw_path": b"/api/v1/users/me",
    "query_string": b"",
    "client": ("127.0.0.1", 50_000),
}


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many days later it is, in a list of one."""
    ahead, real = [0], SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: real(self) + timedelta(days=ahead[0]))
    return ahead


async def test_a_session_in_cookies_ends_when_it_is_not_used(client: Client, callers: Callers, days: list[int]) -> None:
    """ASVS V7.3.1."""
    await callers.person("ann")
    headers = sent_by(await sign_in(client, **FROM_OUR_PAGE))
    days[0] = 15
    assert (await client.get("/users/me", headers=headers)).status == 401
    assert (await client.post("/auth/refresh", {}, headers=headers)).code == "auth.invalid_refresh_token"


async def test_a_session_in_cookies_ends_in_any_case(client: Client, callers: Callers, days: list[int]) -> None:
    """ASVS V7.3.2."""
    await callers.person("ann")
    reply = await sign_in(client, **FROM_OUR_PAGE)
    for later in range(13, 90, 13):
        days[0] = later
        reply = await client.post("/auth/refresh", {}, headers=sent_by(reply))
        assert reply.status == 200, later
    days[0] = 90
    assert (await client.post("/auth/refresh", {}, headers=sent_by(reply))).status == 401
