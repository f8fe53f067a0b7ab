"""People to call as, made through the API itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from fortress.testing.client import NOBODY, Caller, Client, Reply

PASSWORD: Final = "of a person in a test"

FROM_OUR_PAGE: Final = {"sec-fetch-site": "same-origin"}


def cookies_of(reply: Reply) -> str:
    """What a browser sends back of the cookies that an answer set."""
    kept = [value.decode().partition(";")[0] for name, value in reply.raw_headers if name == b"set-cookie"]
    return "; ".join(pair for pair in kept if not pair.endswith("="))


class Callers:
    """Signs people up and in.

    Args:
        admin, password: who may give roles.
    """

    def __init__(self, client: Client, admin: str, password: str) -> None:
        self._client = client
        self._admin = (admin, password)
        self._numbers = count(1)
        self._administrator: Caller | None = None

    nobody: Final = NOBODY

    async def person(self, name: str = "", *, roles: Sequence[str] | None = None) -> Caller:
        """Somebody new, signed in; with these roles instead of those that everyone gets."""
        name = name or f"person{next(self._numbers)}"
        email = f"{name}@example.com"
        made = await self._client.post("/users", {"email": email, "password": PASSWORD, "age": 30})
        assert made.status == 201, made.body
        caller = await self.sign_in(name, email, PASSWORD)
        if roles is not None:
            given = await self._client.put(f"/users/{caller.id}/roles", {"roles": list(roles)}, as_=await self.administrator())
            assert given.status in (200, 204), given.body
        return caller

    async def administrator(self) -> Caller:
        """Who may do everything."""
        if self._administrator is None:
            self._administrator = await self.sign_in("administrator", *self._admin)
        return self._administrator

    async def sign_in(self, name: str, email: str, password: str) -> Caller:
        """Somebody who is there already, in a new session."""
        pair = await self.tokens(email, password)
        headers = {"authorization": f"Bearer {pair['access_token']}"}
        me = (await self._client.get("/users/me", headers=headers)).json()
        return Caller(name, str(me["id"]), email, headers)

    async def in_browser(self, name: str, email: str, password: str = PASSWORD) -> Caller:
        """Somebody who is there already, signed in by cookies, as a page of ours would call."""
        given = {"email": email, "password": password, "session": "cookie"}
        reply = await self._client.post("/auth/login", given, headers=FROM_OUR_PAGE)
        assert reply.status == 200, reply.body
        headers = {**FROM_OUR_PAGE, "cookie": cookies_of(reply), "x-csrf-token": reply.json()["csrf_token"]}
        me = (await self._client.get("/users/me", headers=headers)).json()
        return Caller(name, str(me["id"]), email, headers)

    async def tokens(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        """A new pair of tokens."""
        reply = await self._client.post("/auth/login", {"email": email, "password": password})
        assert reply.status == 200, reply.body
        return dict(reply.json())
