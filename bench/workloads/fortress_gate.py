"""Our gate, in process: a guarded constant among so many routes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from bench.inprocess import HeaderList, Request, started
from bench.people import API, account
from bench.project.app import create_app
from bench.worker import Operations
from fortress import Fortress
from fortress.settings import read_settings

_JSON: Final = msgspec.json.encode
_SAMPLE: Final = 30


@asynccontextmanager
async def guarded_constant(routes: int, by: str = "token") -> Operations:
    """Thirty of the routes in turn, spread over all, each with a token or a key that the process knows already."""
    async with _signed_in(routes) as (app, bearer):
        headers = [(b"x-api-key", await _key(app, bearer))] if by == "key" else bearer
        paths = [f"{API}/bench/constant{number}" for number in range(0, routes, routes // _SAMPLE)][:_SAMPLE]
        turn = itertools.cycle([Request(app, path, headers=headers) for path in paths])

        async def operation() -> object:
            return await next(turn)()

        yield operation


@asynccontextmanager
async def guarded(routes: int, path: str) -> Operations:
    """One address of the app with so many routes that answer a constant."""
    async with _signed_in(routes) as (app, bearer):
        yield Request(app, f"{API}{path}", headers=bearer)


@asynccontextmanager
async def _signed_in(routes: int) -> AsyncIterator[tuple[Fortress, HeaderList]]:
    app = create_app(routes)
    settings = read_settings()
    await app.prepare(settings, lambda _line: None)
    app.with_settings(settings)
    async with started(app):
        yield app, [(b"authorization", b"Bearer " + (await _token(app)).encode())]


async def _token(app: Fortress) -> str:
    wanted = account(0)
    await Request(app, f"{API}/users", method="POST", body=_JSON(wanted), expected=201)()
    signed_in = {"email": wanted["email"], "password": wanted["password"]}
    answer = await Request(app, f"{API}/auth/login", method="POST", body=_JSON(signed_in))()
    tokens: dict[str, Any] = msgspec.json.decode(answer)
    return str(tokens["access_token"])


async def _key(app: Fortress, bearer: HeaderList) -> bytes:
    """As people make them: of some scopes, and bound to networks."""
    wanted = {"name": "bench", "scopes": ["bench:constant"], "networks": ["127.0.0.0/8", "::1"]}
    answer = await Request(app, f"{API}/api-keys", method="POST", headers=bearer, body=_JSON(wanted), expected=201)()
    made: dict[str, Any] = msgspec.json.decode(answer)
    return str(made["key"]).encode()
