"""The application: `granian --interface asgi bench.peers.floor.app:app`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

from bench.peers.floor.orders import order, place

_FIELDS: Final = "id, user_id, status, total, lines, created_at, version"
_ONE: Final = f"SELECT {_FIELDS} FROM orders WHERE id = $1"
_PAGE: Final = f"SELECT {_FIELDS} FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 51"
_JSON: Final = [(b"content-type", b"application/json")]
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Floor:
    """Answers the three workloads and nothing else. Whoever asks is named by the header `x-user`."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope["path"]
        if scope["method"] == "POST":
            status, body = 201, await self._place(scope, receive)
        elif path == "/orders":
            status, body = 200, await self._page(_user(scope))
        elif path == "/ready":
            status, body = 200, b"{}"
        else:
            status, body = 200, await self._one(UUID(path.rpartition("/")[2]))
        await send({"type": "http.response.start", "status": status, "headers": [*_JSON, (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=16, max_size=16)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _one(self, key: UUID) -> bytes:
        return _encode(order(await self._pool.fetchrow(_ONE, key)))

    async def _page(self, user: UUID) -> bytes:
        orders = [order(row) for row in await self._pool.fetch(_PAGE, user)]
        return _encode({"items": orders[:50], "next": str(orders[49].id)})

    async def _place(self, scope: dict[str, Any], receive: Receive) -> bytes:
        wanted = msgspec.json.decode((await receive())["body"])["items"]
        async with self._pool.acquire() as connection, connection.transaction():
            return _encode(await place(connection, wanted, _user(scope), uuid4()))


def _user(scope: dict[str, Any]) -> UUID:
    return UUID(next(value for name, value in scope["headers"] if name == b"x-user").decode())


app = Floor()
