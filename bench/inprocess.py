"""Calls an ASGI application without a server: the same scope, receive and send for everyone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

Message = MutableMapping[str, Any]
App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
HeaderList = Sequence[tuple[bytes, bytes]]

_EMPTY: Final = {"type": "http.request", "body": b"", "more_body": False}
USUAL_HEADERS: Final = ((b"host", b"127.0.0.1"), (b"user-agent", b"bench/1"), (b"accept", b"*/*"))


class Unexpected(AssertionError):
    """A measured request was not answered as it should be; its figure would mean nothing."""


class Request:
    """One request that can be made again and again.

    Args:
        headers: besides those that every client sends.
        expected: the status that it must be answered with.
    """

    def __init__(
        self, app: App, path: str, *, headers: HeaderList = (), method: str = "GET", body: bytes = b"", expected: int = 200
    ) -> None:
        self._app = app
        self._expected = expected
        self._body = body
        head = [*USUAL_HEADERS, *headers]
        if body:
            head += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        target, _, query = path.partition("?")
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 40_000),
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "headers": head,
        }

    async def __call__(self) -> bytes:
        """Make the request once; the answer's body.

        Raises:
            Unexpected: another status than expected came back.
        """
        status, parts = 0, list[bytes]()

        async def receive() -> Message:
            return {"type": "http.request", "body": self._body, "more_body": False} if self._body else dict(_EMPTY)

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        scope = self._scope | {"headers": list(self._scope["headers"]), "state": {}}
        await self._app(scope, receive, send)
        if status != self._expected:
            raise Unexpected(f"{scope['method']} {scope['path']} was answered {status}: {b''.join(parts)[:300]!r}")
        return b"".join(parts)


@asynccontextmanager
async def started(app: App) -> AsyncIterator[None]:
    """The application between its lifespan's startup and shutdown."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    await _complete(outgoing, task)
    try:
        yield
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await _complete(outgoing, task)
        await task


async def _complete(outgoing: asyncio.Queue[Message], task: asyncio.Future[None]) -> None:
    said = asyncio.ensure_future(outgoing.get())
    both: set[asyncio.Future[Any]] = {said, task}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    if not said.done() or said.result()["type"].endswith("failed"):
        said.cancel()
        raise Unexpected(f"the application did not start or stop: {said.result() if said.done() else 'no answer'}")
