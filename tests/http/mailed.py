"""What succeeds only with a token that came by mail."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from tests.domains.identity.mailbox import last, post, token_in

from fortress import Fortress
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client

ROUTES: Final = ("verify_email", "reset_password", "confirm_email_change", "stop_email_change")


class Mailed:
    """Has somebody new ask for a mail, and reads it."""

    def __init__(self, app: Fortress, client: Client, callers: Callers) -> None:
        self._app = app
        self._client = client
        self._callers = callers
        self._numbers = count(1)
        self._ready: dict[str, dict[str, Any]] = {}

    def concerns(self, route: str) -> bool:
        return route in ROUTES

    async def body(self, route: str) -> dict[str, Any]:
        """A body that succeeds once, and until then the same one."""
        if route not in self._ready:
            self._ready[route] = await self._made(route)
        return self._ready[route]

    def used(self, route: str) -> None:
        """The body of this route has succeeded."""
        self._ready.pop(route, None)

    async def _made(self, route: str) -> dict[str, Any]:
        person = await self._callers.person(f"mailed{next(self._numbers)}")
        if route == "verify_email":
            return {"token": await self._token(person, "Welcome")}
        if route == "reset_password":
            await self._client.post("/auth/password/forgot", {"email": person.email})
            return {"token": await self._token(person, "Another password"), "new_password": "another one of a test"}
        await self._client.post("/users/me/email", {"new_email": f"new-{person.email}", "password": PASSWORD}, as_=person)
        return {"token": await self._token(person, "Shall your address")}

    async def _token(self, person: Caller, about: str) -> str:
        runtime = self._app.runtime
        assert runtime is not None
        await post(self._app)
        mail = last(runtime.settings.state_dir, to=person.email, about=about)
        assert mail is not None
        return token_in(mail)
