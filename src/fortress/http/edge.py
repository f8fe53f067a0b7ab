"""The first to see a request: what is malformed, forged or oversized goes no further than the gate.

A raw ASGI application. It hands each request with its endpoint to the gate and sends the answer.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from itertools import chain
from typing import Final

from fortress.context import RequestContext
from fortress.errors import BadRequest, HeadersTooLarge, Refusal, TooLarge
from fortress.http.addresses import TrustedProxies
from fortress.http.answers import Answer
from fortress.http.endpoint import Endpoint
from fortress.http.gate import Gate
from fortress.http.inflight import InFlight
from fortress.http.request import Receive, Request, Scope, Send
from fortress.http.streaming import Streaming
from fortress.http.streams import Stream
from fortress.http.table import RouteTable

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~-]{8,64}").fullmatch
_ONCE: Final = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"authorization",
    b"x-api-key",
    b"x-csrf-token",
    b"origin",
    b"sec-fetch-site",
    b"x-request-id",
)
# Chunks here are what a smuggler hides behind (RFC 9110 §9.3.1); a length of 0 is harmless and usual.
_BODILESS: Final = ("GET", "HEAD")
_CLOSE: Final = {"connection": "close"}
_MAX_LENGTH_DIGITS: Final = 15
_DEFAULT_PORTS: Final = re.compile(r":\d{1,5}$")


class HostNames:
    """The names that `Host` may carry: exact, or `*.name` for any name below."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._any = "*" in allowed
        self._exact = frozenset(name.lower() for name in allowed if not name.startswith("*."))
        self._below = tuple(name[1:].lower() for name in allowed if name.startswith("*."))
        self._known: set[bytes] = set()

    def __contains__(self, host: bytes) -> bool:
        if host in self._known:
            return True
        name = _DEFAULT_PORTS.sub("", host.decode("latin-1").lower())
        allowed = self._any or name in self._exact or name.endswith(self._below)
        if allowed and len(self._known) < 100:
            self._known.add(host)
        return allowed and _plain_host(name)


class Edge:
    """Vets requests and sends answers.

    Args:
        hosts: the names that Host may carry.
        proxies: who may speak for a client's address.
        max_head, max_body: bytes.
        body_timeout: seconds.
    """

    def __init__(
        self,
        *,
        table: RouteTable,
        gate: Gate,
        inflight: InFlight,
        hosts: HostNames,
        proxies: TrustedProxies,
        max_head: int,
        max_body: int,
        body_timeout: float,
    ) -> None:
        self._table = table
        self._gate = gate
        self._inflight = inflight
        self._streaming = Streaming(gate, inflight)
        self._hosts = hosts
        self._proxies = proxies
        # Unique without a call to the system for each request: random for the process, counted within it.
        self._process = secrets.token_hex(10)
        self._requests = 0
        self._max_head = max_head
        self._max_body = max_body
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = _head(scope["headers"])
        context = RequestContext(self._request_id(head), self._proxies.client(scope))
        request = Request(scope, head, receive, context)
        request.body_timeout = self._body_timeout
        request.refused = self._vet(scope, head)
        endpoint = self._table.malformed if request.refused else self._route(request)
        request.prefix = endpoint.prefix
        request.max_body = endpoint.max_body
        ticket = self._inflight.enter()
        try:
            answer = await self._gate.answer(request, endpoint)
            if isinstance(answer, Stream):
                await self._streaming.send(answer, request, endpoint, send, ticket)
            else:
                await _send(answer, request.method, send)
        finally:
            self._inflight.leave(ticket)

    def _route(self, request: Request) -> Endpoint:
        endpoint, request.values = self._table.find(request.method, request.path)
        return endpoint

    def _request_id(self, head: dict[bytes, bytes]) -> str:
        own = head.get(b"x-request-id")
        if own is not None and _REQUEST_ID(own):
            return own.decode("ascii")
        self._requests += 1
        return f"{self._process}{self._requests:012x}"

    def _vet(self, scope: Scope, head: dict[bytes, bytes]) -> Refusal | None:
        """What is wrong with the head, if anything (ASVS V4.2.1; RFC 9112 §3.2, §6.3)."""
        headers = scope["headers"]
        if sum(map(len, chain.from_iterable(headers))) > self._max_head:
            return HeadersTooLarge(f"A head may have {self._max_head} bytes.", headers=_CLOSE)
        if len(head) != len(headers) and _repeated(headers):
            return BadRequest("A header that may come once comes twice.", headers=_CLOSE)
        host = head.get(b"host")
        if host is None or host not in self._hosts:
            return BadRequest("This host is not served here.", headers=_CLOSE)
        if not scope["path"].startswith("/"):
            return BadRequest("A request names a path.", headers=_CLOSE)
        if b"transfer-encoding" in head or b"content-length" in head:
            return self._vet_framing(scope["method"], head)
        return None

    def _vet_framing(self, method: str, head: dict[bytes, bytes]) -> Refusal | None:
        encoding, length = head.get(b"transfer-encoding"), head.get(b"content-length")
        if encoding is not None and method in _BODILESS:
            return BadRequest(f"{method} has no body.", headers=_CLOSE)
        if encoding is not None and (length is not None or encoding.lower() != b"chunked"):
            return BadRequest("The body's framing is ambiguous.", headers=_CLOSE)
        if length is not None and not (length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS):
            return BadRequest("Content-Length is not a number.", headers=_CLOSE)
        if length is not None and int(length) > self._max_body:
            return TooLarge(f"A body may have {self._max_body} bytes.", headers=_CLOSE)
        return None


async def _send(answer: Answer, method: str, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})


def _head(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by name; cookies, which HTTP/2 may send in pieces, in one (RFC 9113 §8.2.3)."""
    head = dict(headers)
    if len(head) != len(headers) and b"cookie" in head:
        head[b"cookie"] = b"; ".join(value for name, value in headers if name == b"cookie")
    return head


def _repeated(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    names = [name for name, _ in headers]
    return any(names.count(name) > 1 for name in _ONCE)


def _plain_host(name: str) -> bool:
    return bool(name) and all(character.isalnum() or character in "-._[]:" for character in name)
