"""Our repositories, asked what asyncpg's pool is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from bench.worker import Operation, Operations
from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import CreatedAt, Database, Entity, Key, Numeric, Owner, PageQuery, Repository, Version, one, page, param, select
from fortress.http.answers import render_json
from fortress.security.permissions import Method
from fortress.security.principal import Principal
from fortress.settings import Settings

_SECRET: Final = b"bench" * 8


class OrderStatus(StrEnum):
    PLACED = "placed"


class Order(Entity, frozen=True):
    """The peers' table, without its JSON column: what is compared is reading, not parsing."""

    __tablename__ = "orders"

    id: Key
    user_id: Owner
    status: OrderStatus
    total: Annotated[Decimal, Numeric(12, 2)]
    created_at: CreatedAt
    version: Version


class Orders(Repository[Order]):
    by_id = one(select(Order).where(Order.c.id == param("id")))
    recent = page(select(Order), newest_first=Order.c.created_at)


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Database]:
    clock = SystemClock()
    async with Database(url, Settings.model_validate({}), secret=_SECRET, clock=clock, ids=TimeOrderedIds(clock)) as database:
        yield database


@asynccontextmanager
async def get_by_id(url: str, key: str, user: str) -> Operations:
    """A reader for the caller, and the caller's own row as a Struct."""
    async with _database(url) as database:
        orders, order_id, caller = Orders(), UUID(key), Principal(UUID(user), Method.SESSION)

        async def operation() -> object:
            return await orders.by_id(database.reader(caller), id=order_id)

        yield operation


@asynccontextmanager
async def list_50(url: str, user: str) -> Operations:
    """A keyset page of the caller's own rows, as JSON."""
    async with _database(url) as database:
        yield _listing(database, Principal(UUID(user), Method.SESSION))


def _listing(database: Database, caller: Principal) -> Operation:
    orders, query = Orders(), PageQuery(limit=50)

    async def operation() -> object:
        return render_json(await orders.recent(database.reader(caller), query=query)).body

    return operation
