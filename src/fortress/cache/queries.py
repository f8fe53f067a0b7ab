"""Cached queries: called like those that they are made of, and answered from memory while nothing has changed.

Within a unit of work they ask the database, for a unit must see what it wrote.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from fortress.cache.plan import Lifetime, Pack, Plan, Unpack, check_lifetime, check_shared, personal, version_of
from fortress.cache.shelf import Load, Shelf
from fortress.data.paged import Paged
from fortress.data.pages import Page, PageQuery
from fortress.data.query import Many, One, Query
from fortress.data.reader import Reader
from fortress.data.sources import is_locking, tables_read
from fortress.errors import CannotStart
from fortress.security.permissions import Reach
from fortress.security.principal import Principal

T = TypeVar("T")

_pack: Final = msgspec.msgpack.Encoder().encode
_key: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_ANYONE: Final = Reach.ANY
_EVERYONE: Final = b""


class CachedQuery(Query, ABC):
    """A query whose answers are kept.

    Attributes:
        query: asked when there is no answer.
        plan: what is fixed about it; there once its repository is made.
    """

    plan: Plan

    def __init__(self, query: Query, into: Any, lifetime: Lifetime) -> None:
        super().__init__(query.statement, into)
        self.query = query
        self._into = into
        self._lifetime = lifetime

    def __set_name__(self, owner: type, name: str) -> None:
        super().__set_name__(owner, name)
        self.query.__set_name__(owner, name)

    def prepare(self) -> None:
        """Compile it, and see whether its answers may be kept.

        Raises:
            CannotStart: they may not: they are personal, can be changed, lock rows or hang on something unknown.
        """
        super().prepare()
        self.query.prepare()
        self._check()
        pack, unpack = self._packing()
        self.plan = Plan(
            name=self.name,
            tables=self._tables(),
            row_table=self.row_table,
            lifetime=self._lifetime,
            version=version_of(self._into, type(self).__name__, *self.query.texts),
            pack=pack,
            unpack=unpack,
        )

    def _check(self) -> None:
        check_lifetime(self.name, self._lifetime)
        check_shared(self.name, self._into)
        if self.personal:
            raise personal(self.name, "its entity")
        if is_locking(self.statement):
            raise CannotStart(f"cached {self.name}: a query that locks rows is asked within a unit of work", hint="leave cached(…) out")

    def _tables(self) -> frozenset[str]:
        tables = tables_read(self.statement)
        if not tables:
            raise CannotStart(
                f"cached {self.name}: plain SQL does not tell which tables it reads", hint="write it in SQLAlchemy's expressions"
            )
        return tables

    @abstractmethod
    def _packing(self) -> tuple[Pack, Unpack]:
        """How an answer travels to Redis, and back."""

    def _audience(self, principal: Principal) -> bytes:
        """Whom an answer to this caller is for: everyone, or who reaches only what is this person's own."""
        return _EVERYONE if self._own is None or principal.reach is _ANYONE else principal.id.bytes


class CachedOne(CachedQuery, Generic[T]):
    """A cached query for one row. See `cached`."""

    def __init__(self, query: One[T], lifetime: Lifetime) -> None:
        super().__init__(query, query.into, lifetime)
        self._one = query

    async def __call__(self, reader: Reader, /, **given: Any) -> T:
        """The row.

        Raises:
            NotFound: it is not there, or not within the caller's reach.
        """
        shelf: Shelf | None = reader.remembered.get(self)
        if shelf is None:
            return await self._one(reader, **given)
        key = _key((self._audience(reader.principal), given))
        entry = shelf.fresh(key)
        found: T | None = entry.value if entry is not None else await self._obtain(shelf, key, reader, given)
        if found is None:
            raise self._one.missing
        return found

    async def maybe(self, reader: Reader, /, **given: Any) -> T | None:
        """The row, or None."""
        shelf: Shelf | None = reader.remembered.get(self)
        if shelf is None:
            return await self._one.maybe(reader, **given)
        key = _key((self._audience(reader.principal), given))
        entry = shelf.fresh(key)
        found: T | None = entry.value if entry is not None else await self._obtain(shelf, key, reader, given)
        return found

    async def _obtain(self, shelf: Shelf, key: bytes, reader: Reader, given: dict[str, Any]) -> T | None:
        found: T | None = await shelf.obtain(key, self.row(given), lambda: self._one.maybe(reader, **given))
        return found

    def _packing(self) -> tuple[Pack, Unpack]:
        unpack = msgspec.msgpack.Decoder(tuple[self._into, ...]).decode  # type: ignore[name-defined]  # a type made at run time
        return lambda value: _pack(() if value is None else (value,)), lambda packed: next(iter(unpack(packed)), None)


class CachedMany(CachedQuery, Generic[T]):
    """A cached query for a bounded number of rows. See `cached`."""

    def __init__(self, query: Many[T], lifetime: Lifetime) -> None:
        super().__init__(query, query.into, lifetime)
        self._many = query

    async def __call__(self, reader: Reader, /, **given: Any) -> Sequence[T]:
        """The rows, as many as the query's limit allows; nobody can change what they are given."""
        shelf: Shelf | None = reader.remembered.get(self)
        if shelf is None:
            return await self._many(reader, **given)
        key = _key((self._audience(reader.principal), given))
        entry = shelf.fresh(key)
        found: Sequence[T] = entry.value if entry is not None else await shelf.obtain(key, self.row(given), self._loading(reader, given))
        return found

    def _loading(self, reader: Reader, given: dict[str, Any]) -> Load:
        async def load() -> tuple[T, ...]:
            return tuple(await self._many(reader, **given))

        return load

    def _packing(self) -> tuple[Pack, Unpack]:
        return _pack, msgspec.msgpack.Decoder(tuple[self._into, ...]).decode  # type: ignore[name-defined]  # as above


class CachedPages(CachedQuery, Generic[T]):
    """A cached query in pages. See `cached`."""

    def __init__(self, query: Paged[T], lifetime: Lifetime) -> None:
        super().__init__(query, query.into, lifetime)
        self._paged = query

    async def __call__(self, reader: Reader, /, *, query: PageQuery, **given: Any) -> Page[T]:
        """One page; nobody can change what they are given.

        Raises:
            Invalid: the cursor is not one of this list and this caller.
        """
        shelf: Shelf | None = reader.remembered.get(self)
        if shelf is None:
            return await self._paged(reader, query=query, **given)
        key = _key((self._audience(reader.principal), query.limit, query.cursor, query.sort, query.filters, given))
        entry = shelf.fresh(key)
        found: Page[T] = entry.value if entry is not None else await shelf.obtain(key, None, self._loading(reader, query, given))
        return found

    def _loading(self, reader: Reader, query: PageQuery, given: dict[str, Any]) -> Load:
        async def load() -> Page[T]:
            page = await self._paged(reader, query=query, **given)
            return Page(tuple(page.items), page.next)

        return load

    def _packing(self) -> tuple[Pack, Unpack]:
        unpack = msgspec.msgpack.Decoder(tuple[tuple[self._into, ...], str | None]).decode  # type: ignore[name-defined]  # as above
        return lambda page: _pack((page.items, page.next)), lambda packed: Page(*unpack(packed))
