"""Somebody with second factors, for tests that crawl every route: what each route of theirs takes, made when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pyotp
from tests.domains.identity.software_authenticator import SoftwareAuthenticator

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Client

_STEP: Final = 30
Body = Callable[[], Awaitable[Any]]


class Guarded:
    """A person with two passkeys, one of them to spare.

    Attributes:
        caller: in a session of two factors.
        spare: the id of a passkey that may be removed.
    """

    def __init__(self, client: Client, callers: Callers) -> None:
        self._client = client
        self._callers = callers
        self._key = SoftwareAuthenticator()
        self._last = 0
        self.caller = Caller("nobody yet")
        self.spare = ""
        self._bodies: dict[str, Body] = {
            "begin_mfa": self._without_app,
            "confirm_mfa": self._confirming,
            "remove_mfa": self._with_app,
            "add_passkey": self._adding,
            "rename_passkey": self._renaming,
            "take_second_step": self._second_step,
            "ask_second_step_passkey": self._asked,
            "take_second_step_by_passkey": self._second_step_by_passkey,
            "sign_in_by_passkey": self._signing_in,
            "reauthenticate": self._proving,
        }

    async def furnish(self) -> None:
        """Have both passkeys, and a session that began with one of them."""
        self.caller = await self._callers.person("guarded")
        await self._added(self._key)
        await self.sign_in()
        self.spare = await self._added(SoftwareAuthenticator())

    async def sign_in(self) -> None:
        """Begin another session of two factors."""
        pair = (await self._client.post("/auth/passkey", await self._signing_in())).json()
        self.caller = Caller("guarded", self.caller.id, self.caller.email, {"authorization": f"Bearer {pair['access_token']}"})

    def concerns(self, route: str) -> bool:
        """Whether the route of this name is about the caller's own second factors."""
        return route in self._bodies or "passkey" in route or route in ("read_mfa", "renew_recovery_codes")

    async def body(self, route: str) -> Any:
        """A body that the route takes now; None: it takes none."""
        make = self._bodies.get(route)
        if route == "reauthenticate":
            await self.sign_in()
        return None if make is None else await make()

    async def _post(self, path: str, body: Any = None) -> Any:
        return (await self._client.post(path, body, as_=self.caller)).json()

    async def _added(self, key: SoftwareAuthenticator) -> str:
        credential = key.make((await self._post("/users/me/passkeys/options"))["options"])
        return str((await self._post("/users/me/passkeys", {"name": "one", "credential": credential}))["id"])

    async def _without_app(self) -> None:
        await self._client.delete("/users/me/mfa", as_=self.caller)

    async def _with_app(self) -> None:
        await self._client.post("/users/me/mfa/confirm", await self._confirming(), as_=self.caller)

    async def _confirming(self) -> dict[str, Any]:
        await self._without_app()
        secret = (await self._post("/users/me/mfa"))["secret"]
        return {"code": pyotp.TOTP(secret).generate_otp(int(time.time()) // _STEP)}

    async def _adding(self) -> dict[str, Any]:
        options = (await self._post("/users/me/passkeys/options"))["options"]
        return {"name": "two", "credential": SoftwareAuthenticator().make(options)}

    async def _renaming(self) -> dict[str, Any]:
        return {"name": "renamed"}

    async def _asked(self) -> dict[str, Any]:
        problem = await self._post("/auth/login", {"email": self.caller.email, "password": PASSWORD})
        return {"mfa_token": problem["mfa_token"]}

    async def _second_step(self) -> dict[str, Any]:
        codes = (await self._post("/users/me/mfa/recovery-codes"))["recovery_codes"]
        return await self._asked() | {"code": codes[0]}

    async def _second_step_by_passkey(self) -> dict[str, Any]:
        token = await self._asked()
        return token | await self._answered("/auth/mfa/passkey/options", token)

    async def _signing_in(self) -> dict[str, Any]:
        return await self._answered("/auth/passkey/options")

    async def _proving(self) -> dict[str, Any]:
        return await self._answered("/auth/reauthenticate/passkey/options")

    async def _answered(self, path: str, body: Any = None) -> dict[str, Any]:
        asked = await self._post(path, body)
        return {"challenge_token": asked["challenge_token"], "credential": self._key.answer(asked["options"])}
