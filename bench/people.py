"""People of our own server: signed up and signed in through its API, with the peers' rows behind them."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

from bench import seed
from bench.client import Connection, connect

PASSWORD: Final = "correct-Horse-battery-9-staple"
API: Final = "/api/v2"
_CONNECTIONS: Final = 4


class Person(msgspec.Struct, frozen=True):
    """Someone who is signed in."""

    id: UUID
    email: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


def account(number: int) -> dict[str, Any]:
    """What a sign-up asks for."""
    return {"email": f"bench{number}-{uuid4().hex[:8]}@example.com", "password": PASSWORD, "age": 30}


async def join(connection: Connection, number: int) -> Person:
    """Sign up and sign in."""
    wanted = account(number)
    (await connection.ask("POST", f"{API}/users", body=wanted)).value()
    return await sign_in(connection, wanted["email"])


async def sign_in(connection: Connection, email: str) -> Person:
    tokens = (await connection.ask("POST", f"{API}/auth/login", body={"email": email, "password": PASSWORD})).value()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = (await connection.ask("GET", f"{API}/users/me", headers=headers)).value()
    return Person(UUID(me["id"]), email, tokens["access_token"], tokens["refresh_token"])


async def people(port: int, count: int) -> list[Person]:
    """So many people, a few at a time."""

    async def some(first: int) -> list[Person]:
        async with connect(port) as connection:
            return [await join(connection, number) for number in range(first, count, _CONNECTIONS)]

    groups = await asyncio.gather(*(some(first) for first in range(_CONNECTIONS)))
    return [person for group in groups for person in group]


async def fill(url: str, users: list[UUID]) -> None:
    """The peers' products and orders in the shop's tables."""
    connection = await asyncpg.connect(url, timeout=10)
    columns = ["id", "user_id", "status", "total", "lines", "created_at", "version"]
    try:
        products = [(*row, seed.START) for row in seed.product_rows()]
        await connection.execute("DELETE FROM products")
        await connection.copy_records_to_table("products", records=products, columns=["id", "sku", "name", "price", "stock", "created_at"])
        await connection.copy_records_to_table("orders", records=seed.order_rows(users), columns=columns)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
