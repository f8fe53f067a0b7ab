"""One's own account, the ways back into it, and finding people, as clients meet them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.domains.identity.mailbox import last, post, token_in

from fortress import Fortress
from fortress.settings import Settings
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Client

ANOTHER = "a drawbridge, drawn up"


class Mailbox:
    """What the app has sent."""

    def __init__(self, app: Fortress, directory: Path) -> None:
        self._app = app
        self._directory = directory

    async def token(self, to: str, about: str) -> str:
        """The token in the newest mail to this address with this in its subject."""
        await post(self._app)
        mail = last(self._directory, to=to, about=about)
        assert mail is not None
        return token_in(mail)


@pytest.fixture
def mailbox(running: Fortress, settings: Settings) -> Mailbox:
    return Mailbox(running, settings.state_dir)


async def test_an_address_is_proved_once(client: Client, callers: Callers, mailbox: Mailbox) -> None:
    ann = await callers.person("ann")
    assert (await client.get("/users/me", as_=ann)).json()["email_verified"] is False
    token = await mailbox.token("ann@example.com", "Welcome")
    assert (await client.post("/auth/email/verify", {"token": token})).status == 204
    assert (await client.get("/users/me", as_=ann)).json()["email_verified"] is True
    again = await client.post("/auth/email/verify", {"token": token})
    assert (again.status, again.json()["errors"][0]["code"], again.json()["errors"][0]["field"]) == (422, "token.invalid", "/token")
    assert token not in again.body.decode()


async def test_a_forgotten_password_is_chosen_anew(client: Client, callers: Callers, mailbox: Mailbox) -> None:
    ann = await callers.person("ann")
    key = (await client.post("/api-keys", {"name": "nightly", "scopes": ["account:read"]}, as_=ann)).json()["key"]
    asked = await client.post("/auth/password/forgot", {"email": "Ann@example.com"})
    nobody = await client.post("/auth/password/forgot", {"email": "nobody@example.com"})
    assert asked.status == nobody.status == 202
    assert asked.body == nobody.body
    token = await mailbox.token("ann@example.com", "Another password")
    weak = await client.post("/auth/password/reset", {"token": token, "new_password": "password"})
    assert [error["field"] for error in weak.json()["errors"]] == ["/new_password"]
    assert (await client.post("/auth/password/reset", {"token": token, "new_password": ANOTHER})).status == 204
    assert (await client.get("/users/me", as_=ann)).status == 401, "every session has ended"
    assert (await client.get("/users/me", headers={"x-api-key": key})).status == 200, "keys stay"
    assert (await client.post("/auth/login", {"email": "ann@example.com", "password": PASSWORD})).status == 401
    await callers.tokens("ann@example.com", ANOTHER)
    assert (await client.post("/auth/password/reset", {"token": token, "new_password": ANOTHER + "!"})).status == 422


async def test_an_administrator_starts_a_reset_and_gets_no_token(client: Client, callers: Callers, mailbox: Mailbox) -> None:
    ann, admin = await callers.person("ann"), await callers.administrator()
    assert (await client.post(f"/users/{ann.id}/password-reset", as_=ann)).status == 403
    started = await client.post(f"/users/{ann.id}/password-reset", as_=admin)
    assert started.status == 202
    assert await mailbox.token("ann@example.com", "Another password") not in started.body.decode()
    assert (await client.post(f"/users/{admin.id[:-4]}0000/password-reset", as_=admin)).status == 404


async def test_an_address_changes_when_both_mailboxes_agree(client: Client, callers: Callers, mailbox: Mailbox) -> None:
    ann = await callers.person("ann")
    wrong = await client.post("/users/me/email", {"new_email": "ann@new.example.com", "password": "wrong"}, as_=ann)
    assert [error["field"] for error in wrong.json()["errors"]] == ["/password"]
    asked = await client.post("/users/me/email", {"new_email": "ann@new.example.com", "password": PASSWORD}, as_=ann)
    taken = await client.post("/users/me/email", {"new_email": "admin@example.com", "password": PASSWORD}, as_=ann)
    assert (asked.status, asked.body) == (taken.status, taken.body)
    await mailbox.token("ann@example.com", "Shall your address")
    await client.post("/users/me/email", {"new_email": "ann@third.example.com"}, as_=ann)
    for to, about in (("ann@example.com", "Shall your address"), ("ann@third.example.com", "Is this your address")):
        assert (await client.post("/auth/email/confirm", {"token": await mailbox.token(to, about)})).status == 204
    me = (await client.get("/users/me", as_=ann)).json()
    assert (me["email"], me["email_verified"]) == ("ann@third.example.com", True)
    await callers.tokens("ann@third.example.com")


async def test_a_merge_patch_changes_what_is_there(client: Client, callers: Callers) -> None:
    ann = await callers.person("ann")
    assert (await client.patch("/users/me", {"name": " Ann "}, as_=ann)).json()["name"] == "Ann"
    assert (await client.patch("/users/me", {}, as_=ann)).json()["name"] == "Ann"
    assert (await client.patch("/users/me", {"name": None}, as_=ann)).json()["name"] is None
    wrong: list[Any] = [{"email": "eve@example.com"}, {"name": ""}, {"status": "active"}, {"name": "a\u202eb"}, []]
    for body in wrong:
        assert (await client.patch("/users/me", body, as_=ann)).status == 422, body


async def test_people_are_found_by_address_and_by_name(client: Client, callers: Callers) -> None:
    admin = await callers.administrator()
    people = [await callers.person(name) for name in ("ann", "eve", "bob")]
    for person, name in zip(people, ("Sam Example", "sam example", "Sam"), strict=True):
        await client.patch("/users/me", {"name": name}, as_=person)

    async def found(query: str) -> list[str]:
        return [item["email"] for item in (await client.get(f"/users?{query}", as_=admin)).json()["items"]]

    assert await found("email=ANN%40example.com") == ["ann@example.com"]
    assert await found("email=nobody%40example.com") == []
    assert await found("name=SAM%20EXAMPLE") == ["eve@example.com", "ann@example.com"]
    assert await found("name=Sam") == ["bob@example.com"]
    first = (await client.get("/users?name=sam%20example&limit=1", as_=admin)).json()
    assert [item["email"] for item in first["items"]] == ["eve@example.com"]
    assert await found(f"name=sam%20example&limit=1&cursor={first['next']}") == ["ann@example.com"]
    assert (await client.get("/users?name=a&email=b", as_=admin)).status == 422
    assert (await client.get("/users?email=ann%40example.com", as_=people[0])).status == 403


BODIES: list[tuple[str, Any]] = [
    ("/auth/email/verify", {"token": "x" * 101}),
    ("/auth/password/reset", {"token": "x" * 43, "new_password": "y" * 2000}),
    ("/auth/password/forgot", {"email": ["ann@example.com"]}),
    ("/auth/password/forgot", {"email": "ann@example.com", "site": "https://evil.example"}),
    ("/auth/email/confirm", {"token": None}),
    ("/auth/email/stop", {}),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_what_is_sent_is_checked_and_not_repeated(client: Client, path: str, body: Any) -> None:
    refused = await client.post(path, body)
    assert refused.status == 422
    assert b"xxx" not in refused.body
    assert b"evil" not in refused.body


async def test_no_token_travels_in_a_path_or_query(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, verbs in document["paths"].items():
        parameters = [one["name"] for verb in verbs.values() if isinstance(verb, dict) for one in verb.get("parameters", [])]
        # RFC 8058 has the one of a mail's link nowhere else; it ends mails of one kind, and opens nothing.
        known = path.startswith("/auth/providers") or path == "/notifications/unsubscribe/{token}"
        assert known or not {"token", "code", "password", "email_token"} & set(parameters), path
