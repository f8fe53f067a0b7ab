"""The client sends what a wire would carry, and gives back what came."""

from __future__ import annotations

from typing import Any

import pytest

from fortress.http.request import Message, Receive, Scope, Send
from fortress.testing.client import NOBODY, Caller, Client


class Mirror:
    """An app that answers with what it was asked."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.body = scope, (await receive())["body"]
        headers = [(b"x-one", b"1"), (b"content-type", b"application/problem+json")]
        await _send_all(
            send,
            {"type": "http.response.start", "status": 418, "headers": headers},
            {"type": "http.response.body", "body": b'{"code":', "more_body": True},
            {"type": "http.response.body", "body": b'"tea"}'},
        )

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.scope["headers"])


async def _send_all(send: Send, *messages: Message) -> None:
    for message in messages:
        await send(message)


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
def calls(mirror: Mirror) -> Client:
    return Client(mirror, base="/api/v1", address="192.0.2.9")


async def test_the_whole_answer_is_read(calls: Client) -> None:
    reply = await calls.get("/tea")
    assert (reply.status, reply.code, reply.headers["x-one"]) == (418, "tea", "1")


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
async def test_json_is_sent_as_json(calls: Client, mirror: Mirror, verb: str) -> None:
    await getattr(calls, verb)("/tea", {"cups": 2})
    assert (mirror.scope["method"], mirror.body) == (verb.upper(), b'{"cups":2}')
    assert (mirror.headers[b"content-type"], mirror.headers[b"content-length"]) == (b"application/json", b"10")


async def test_bytes_are_sent_as_they_are(calls: Client, mirror: Mirror) -> None:
    await calls.call("POST", "/tea", body=b"\xff{", headers={"Content-Type": "text/plain"})
    assert (mirror.body, mirror.headers[b"content-type"]) == (b"\xff{", b"text/plain")


async def test_paths_queries_and_addresses_are_those_of_a_server(calls: Client, mirror: Mirror) -> None:
    await calls.get("/tëa?q=a%20b&c")
    scope: Any = mirror.scope
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/api/v1/tëa", b"/api/v1/t%C3%ABa", b"q=a%20b&c")
    assert scope["client"][0] == "192.0.2.9"
    await calls.call("GET", "/health/live", base="")
    assert mirror.scope["path"] == "/health/live"


async def test_a_caller_proves_who_they_are_and_does_not_show_it(calls: Client, mirror: Mirror) -> None:
    ann = Caller("ann", headers={"authorization": "Bearer secret"})
    await calls.get("/tea", as_=ann)
    assert mirror.headers[b"authorization"] == b"Bearer secret"
    assert "secret" not in f"{ann!r} {[ann, NOBODY]}"
    await calls.get("/tea")
    assert b"authorization" not in mirror.headers
