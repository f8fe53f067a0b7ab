"""A client that speaks to an app in the same process: every layer from the edge on, no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fortress.http.request import Message, Receive, Scope, Send

_HOST: Final = (b"host", b"127.0.0.1")


class Caller(msgspec.Struct, frozen=True):
    """Somebody who can call: their id and what they send to prove it."""

    name: str
    id: str = ""
    email: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{self.name}>"


NOBODY: Final = Caller("nobody")


class Reply(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; of several with one name the last."""
        return {name.decode(): value.decode("latin-1") for name, value in self.raw_headers}

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The problem's code."""
        return str(self.json()["code"])


class Client:
    """Calls an ASGI app. A feed, which has no end, is left when its head and what came with it are there.

    Args:
        app: with its parts started.
        base: what every path is under.
        address: where the calls seem to come from.
    """

    def __init__(self, app: Any, *, base: str = "/api/v1", address: str = "127.0.0.1") -> None:
        self._app = app
        self._base = base
        self._address = address

    async def get(self, path: str, *, as_: Caller = NOBODY, **options: Any) -> Reply:
        return await self.call("GET", path, as_=as_, **options)

    async def post(self, path: str, json: Any = None, *, as_: Caller = NOBODY, **options: Any) -> Reply:
        return await self.call("POST", path, json=json, as_=as_, **options)

    async def put(self, path: str, json: Any = None, *, as_: Caller = NOBODY, **options: Any) -> Reply:
        return await self.call("PUT", path, json=json, as_=as_, **options)

    async def patch(self, path: str, json: Any = None, *, as_: Caller = NOBODY, **options: Any) -> Reply:
        return await self.call("PATCH", path, json=json, as_=as_, **options)

    async def delete(self, path: str, json: Any = None, *, as_: Caller = NOBODY, **options: Any) -> Reply:
        return await self.call("DELETE", path, json=json, as_=as_, **options)

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        as_: Caller = NOBODY,
        base: str | None = None,
    ) -> Reply:
        """One request; `json` is sent as JSON, `body` as it is."""
        content = msgspec.json.encode(json) if json is not None else body or b""
        sent = {**({"content-type": "application/json"} if json is not None else {}), **as_.headers, **(headers or {})}
        where, _, query = ((self._base if base is None else base) + path).partition("?")
        pairs = [_HOST, *((name.lower().encode(), value.encode()) for name, value in sent.items())]
        if content:
            pairs.append((b"content-length", str(len(content)).encode()))
        return await self._exchange(_scope(method, where, query, pairs, self._address), content)

    async def _exchange(self, scope: Scope, content: bytes) -> Reply:
        got: list[Message] = []
        sent, heard = False, asyncio.Event()

        async def receive() -> Message:
            nonlocal sent
            if sent:
                # Who has said all stays and listens.
                await heard.wait()
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            got.append(message)
            if message["type"] == "http.response.body" and _is_feed(got[0]):
                heard.set()

        ready: tuple[Receive, Send] = (receive, send)
        await self._app(scope, *ready)
        body = b"".join(message.get("body", b"") for message in got[1:])
        return Reply(got[0]["status"], list(got[0]["headers"]), body)


def _is_feed(head: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in head["headers"])


def _scope(method: str, path: str, query: str, headers: list[tuple[bytes, bytes]], address: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": (address, 50_000),
    }
