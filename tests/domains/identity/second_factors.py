"""People with second factors: the shortest ways to have them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyotp
import pytest

from fortress.clock import SystemClock
from fortress.testing.callers import PASSWORD
from fortress.testing.client import Caller, Client, Reply

STEP = timedelta(seconds=30)


class Later:
    """The app's clock, which goes on by itself and can be put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = timedelta()
        real = SystemClock.now
        monkeypatch.setattr(SystemClock, "now", lambda clock: real(clock) + self._ahead)

    def go(self, by: timedelta) -> None:
        self._ahead += by

    def now(self) -> datetime:
        return SystemClock().now()


class App:
    """Somebody's authenticator app. Each code is of a step that no code was of before."""

    def __init__(self, enrolment: dict[str, Any], later: Later) -> None:
        self.secret: str = enrolment["secret"]
        self.uri: str = enrolment["uri"]
        self._later = later
        self._totp = pyotp.TOTP(self.secret)

    def code(self) -> str:
        """The code of a new step."""
        self._later.go(STEP)
        return self.shown()

    def shown(self, steps: int = 0) -> str:
        """The code of now, or of so many steps from now."""
        return self._totp.generate_otp(int(self._later.now().timestamp()) // 30 + steps)

    def wrong(self) -> str:
        """Six digits that are no code of about now."""
        near = {self.shown(steps) for steps in range(-3, 4)}
        return next(text for text in (f"{number:06}" for number in range(8)) if text not in near)


def bearer(pair: dict[str, Any], caller: Caller) -> Caller:
    return Caller(caller.name, caller.id, caller.email, {"authorization": f"Bearer {pair['access_token']}"})


async def enrolled(client: Client, caller: Caller, later: Later) -> tuple[App, list[str]]:
    """The caller's authenticator app, on, and their recovery codes."""
    begun = await client.post("/users/me/mfa", as_=caller)
    assert begun.status == 200, begun.body
    app = App(begun.json(), later)
    confirmed = await client.post("/users/me/mfa/confirm", {"code": app.code()}, as_=caller)
    assert confirmed.status == 200, confirmed.body
    return app, confirmed.json()["recovery_codes"]


async def asked(client: Client, caller: Caller, password: str = PASSWORD) -> dict[str, Any]:
    """What a sign-in by password of somebody with a second factor is answered with."""
    reply = await client.post("/auth/login", {"email": caller.email, "password": password})
    assert (reply.status, reply.code) == (403, "auth.mfa_required"), reply.body
    problem: dict[str, Any] = reply.json()
    return problem


async def step(client: Client, token: str, code: str) -> Reply:
    return await client.post("/auth/mfa", {"mfa_token": token, "code": code})


async def proved(client: Client, caller: Caller, app: App) -> Caller:
    """The caller, in a new session of two factors."""
    reply = await step(client, (await asked(client, caller))["mfa_token"], app.code())
    assert reply.status == 200, reply.body
    return bearer(reply.json(), caller)
