"""One HTTP request, as the edge has let it in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fortress.context import RequestContext
from fortress.errors import BadRequest, Refusal, RequestTimeout, TooLarge
from fortress.security.principal import ANONYMOUS, Principal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CLOSE: Final = {"connection": "close"}


class Request:
    """What arrived. Header names are lower-case bytes; a header that may come once is there once.

    Attributes:
        head: the headers.
        values: what the path's parameters hold, in the template's order.
        prefix: the API version's, `/api/v1`; what a Location starts with.
        principal: who asks; set by the gate before any handler runs.
        content: the whole body, once it was read.
        refused: what the edge found wrong with it, to be answered through the gate.
    """

    __slots__ = (
        "body_timeout",
        "content",
        "context",
        "head",
        "max_body",
        "method",
        "path",
        "prefix",
        "principal",
        "query",
        "receive",
        "refused",
        "values",
    )

    def __init__(self, scope: Scope, head: dict[bytes, bytes], receive: Receive, context: RequestContext) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.head = head
        self.receive = receive
        self.context = context
        self.principal: Principal = ANONYMOUS
        self.values: tuple[Any, ...] = ()
        self.prefix = ""
        self.refused: Refusal | None = None
        self.max_body = 0
        self.body_timeout = 0.0
        self.content: bytes | None = None

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is longer than this route takes.
            RequestTimeout: it did not arrive in time.
        BadRequest: it broke off.
        """
        if self.content is not None:
            return self.content
        declared = self.head.get(b"content-length")
        if declared is not None and int(declared) > self.max_body:
            raise TooLarge(f"The body may have {self.max_body} bytes.")
        try:
            async with asyncio.timeout(self.body_timeout):
                self.content = await self._collect()
        except TimeoutError:
            raise RequestTimeout(headers=_CLOSE) from None
        return self.content

    async def _collect(self) -> bytes:
        parts = bytearray()
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                # The server says the same of a client that hung up and of a broken chunk; the latter still waits for an answer.
                raise BadRequest("The body ended before it was whole.", headers=_CLOSE)
            parts += message.get("body", b"")
            if len(parts) > self.max_body:
                raise TooLarge(f"The body may have {self.max_body} bytes.", headers=_CLOSE)
            more = message.get("more_body", False)
        return bytes(parts)
