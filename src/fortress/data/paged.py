"""Queries in pages: by keyset, and narrowed and sorted by what they declare.

class OrderRepository(Repository[Order]):
    recent = page(select(Order), newest_first=Order.c.created_at, filters=[Order.c.status], sorts=[Order.c.total])
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, overload

import msgspec
import sqlalchemy as sa

from fortress.data.compile import parameter
from fortress.data.entity import Descending, Index, Shape, Unique, entity_of, shape_of
from fortress.data.pages import Page, PageQuery
from fortress.data.query import MOST, Query, names_of, result_of
from fortress.data.reader import Reader
from fortress.data.rows import loader
from fortress.errors import CannotStart
from fortress.security.permissions import Reach
from fortress.security.principal import SYSTEM, Principal

T = TypeVar("T")
_ANYONE: Final = Reach.ANY
_DESCENDING: Final = "-"


class Way(msgspec.Struct, frozen=True):
    """One of the ways to go through a list: narrowed by these columns, in this order.

    Attributes:
        name: the query's, and which way it is; a cursor of another one is refused.
        keys: what it is sorted by; together they are never the same for two rows.
        cursor: the type of their values.
    """

    name: str
    keys: list[sa.Column[Any]]
    cursor: Any
    first: Query
    after: Query


class Paged(Query, Generic[T]):
    """A query in pages. See `page`."""

    def __init__(self, statement: Any, into: Any, order: Any, *, newest_first: bool, filters: Sequence[Any], sorts: Sequence[Any]) -> None:
        self.into, _ = result_of(statement, into)
        super().__init__(statement, self.into)
        self._load = loader(self.into, names_of(statement))
        self._filters = {column.name: column for column in filters}
        self._sorts = {column.name: column for column in (order, *sorts)}
        self._usual_sort = f"{_DESCENDING if newest_first else ''}{order.name}"
        self._ways: dict[tuple[str, tuple[str, ...]], Way] = {}
        self._usual = self._way(self._usual_sort, ())
        absent = {key.name for column in self._sorts.values() for key in _keyset(column)} - set(names_of(statement))
        if absent:
            raise CannotStart(f"a page sorted by {', '.join(sorted(absent))} must select it")

    def prepare(self) -> None:
        super().prepare()
        # Its name is known only now.
        self._ways.clear()
        self._usual = self._prepared(self._usual_sort, ())
        for column in {*self._filters.values(), *list(self._sorts.values())[1:]}:
            self._refuse_unindexed(column)

    @property
    def texts(self) -> tuple[str, ...]:
        return (*self._usual.first.texts, *self._usual.after.texts)

    async def __call__(self, reader: Reader, /, *, query: PageQuery, **given: Any) -> Page[T]:
        """One page.

        Raises:
            Invalid: the cursor is not one of this list, this caller, this order and these filters.
        """
        way = self._usual if query.sort is None and not query.filters else self._asked(query, given)
        part = way.first
        bound = _bound(way.name, query.filters)
        if query.cursor is not None:
            part = way.after
            values = reader.cursors.read(query.cursor, bound, self._holder(reader), way.cursor)
            given |= {f"after_{index}": value for index, value in enumerate(values)}
        given["page_limit"] = query.limit + 1
        if self._blind:
            await reader.personal.digests(self._blind, given)
        rows = await reader.rows(*part.bound(reader, given))
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        items = await self.made(self._load, reader, rows)
        if not more:
            return Page(items, None)
        last = tuple(getattr(items[-1], key.name) for key in way.keys)
        return Page(items, reader.cursors.write(bound, self._holder(reader), last))

    async def batches(self, reader: Reader, /, *, size: int = MOST, **given: Any) -> AsyncIterator[list[T]]:
        """Every row, in the page's order and in constant memory; between two batches nothing of the database is held.

        A row that is there from the first batch to the last comes once. One that comes or goes meanwhile may be among them or not:
        a snapshot of hours would hold back vacuum, and with it everybody.
        """
        if self._blind:
            await reader.personal.digests(self._blind, given)
        way = self._usual
        part = way.first
        while True:
            rows = await reader.rows(*part.bound(reader, given | {"page_limit": size}))
            if rows:
                items = await self.made(self._load, reader, rows)
                yield items
                given |= {f"after_{index}": getattr(items[-1], key.name) for index, key in enumerate(way.keys)}
            if len(rows) < size:
                return
            part = way.after

    def _asked(self, query: PageQuery, given: dict[str, Any]) -> Way:
        """The way that is asked for; made when it is asked for the first time, and there are only so many."""
        sort, filters = query.sort or self._usual_sort, tuple(sorted(query.filters))
        strange = [*({sort.removeprefix(_DESCENDING)} - self._sorts.keys()), *(query.filters.keys() - self._filters.keys())]
        if strange:
            raise CannotStart(f"{self.name} declares neither filters= nor sorts= of {', '.join(strange)}")
        given |= {f"filter_{name}": query.filters[name] for name in filters}
        return self._ways.get((sort, filters)) or self._prepared(sort, filters)

    def _prepared(self, sort: str, filters: tuple[str, ...]) -> Way:
        way = self._ways[sort, filters] = self._way(sort, filters)
        for part in (way.first, way.after):
            part.name = self.name
            part.prepare()
        return way

    def _way(self, sort: str, filters: tuple[str, ...]) -> Way:
        newest_first = sort.startswith(_DESCENDING)
        keys = _keyset(self._sorts[sort.removeprefix(_DESCENDING)])
        statement = self.statement
        for name in filters:
            statement = statement.where(self._filters[name] == parameter(f"filter_{name}", self._filters[name].type))
        first = Query(_ordered(statement, keys, newest_first=newest_first), self.into)
        after = Query(_beyond(first.statement, keys, newest_first=newest_first), self.into)
        name = self.name if sort == self._usual_sort and not filters else f"{self.name}?{sort}"
        return Way(name, keys, GenericAlias(tuple, tuple(_python(key) for key in keys)), first, after)

    def _refuse_unindexed(self, column: sa.Column[Any]) -> None:
        entity = entity_of(column.table)
        if entity is None or column.nullable:
            raise CannotStart(f"{self.name} can be narrowed and sorted by columns of an entity that are never null; {column.name} is none")
        shape = shape_of(entity)
        if not _is_led_by(shape, column.name):
            problem = f"{self.name} can be narrowed or sorted by {column.name}, and no index of {shape.name} begins with it"
            raise CannotStart(problem, hint=f'Index("idx_{shape.name}_{column.name}", "{column.name}", …)')

    def _holder(self, reader: Reader) -> Principal:
        """Who may use a cursor: those who would get the same rows by it."""
        return reader.principal if self.scoped and reader.principal.reach is not _ANYONE else SYSTEM


@overload
def page(statement: sa.Select[T], *, newest_first: Any, filters: Sequence[Any] = (), sorts: Sequence[Any] = ()) -> Paged[T]: ...
@overload
def page(statement: sa.Select[T], *, oldest_first: Any, filters: Sequence[Any] = (), sorts: Sequence[Any] = ()) -> Paged[T]: ...
@overload
def page(statement: Any, *, into: type[T], newest_first: Any, filters: Sequence[Any] = (), sorts: Sequence[Any] = ()) -> Paged[T]: ...
@overload
def page(statement: Any, *, into: type[T], oldest_first: Any, filters: Sequence[Any] = (), sorts: Sequence[Any] = ()) -> Paged[T]: ...
def page(
    statement: Any,
    *,
    into: Any = None,
    newest_first: Any = None,
    oldest_first: Any = None,
    filters: Sequence[Any] = (),
    sorts: Sequence[Any] = (),
) -> Any:
    """Pages by keyset: sorted by one column that is never null and then by the key, each beginning where the last ended.

    Args:
        statement: whose rows come in pages.
        into: what they become, where that is not the entity.
        newest_first: the column of the usual order, or
        oldest_first: the same upwards.
        filters: columns of which a `PageQuery` may ask for one value; an index begins with each.
        sorts: columns by which it may ask for another order, upwards or downwards; an index begins with each.
    """
    order = oldest_first if newest_first is None else newest_first
    return Paged(statement, into, order, newest_first=newest_first is not None, filters=filters, sorts=sorts)


def _bound(name: str, filters: Mapping[str, Any]) -> str:
    """What a cursor belongs to: the way through the list, and the values that it is narrowed by."""
    if not filters:
        return name
    return f"{name}&{msgspec.json.encode(filters, order='deterministic').decode()}"


def _is_led_by(shape: Shape, column: str) -> bool:
    """Whether an index of all rows begins with this column."""
    whole = [index for index in shape.entity.__indexes__ if isinstance(index, (Index, Unique)) and not index.where]
    first = [index.columns[0] for index in whole]
    return column in {shape.key, *(one.name if isinstance(one, Descending) else one for one in first)}


def _keyset(order: Any) -> list[sa.Column[Any]]:
    entity = entity_of(getattr(order, "table", None))
    if entity is None or order.nullable:
        raise CannotStart("a page is sorted by a column of an entity that is never null")
    key = entity.table.c[shape_of(entity).key]
    return [order] if order.name == key.name else [order, key]


def _python(key: sa.Column[Any]) -> Any:
    entity = entity_of(key.table)
    return shape_of(entity).field(key.name).python if entity else Any


def _ordered(statement: Any, keys: list[sa.Column[Any]], *, newest_first: bool) -> Any:
    order = [key.desc() if newest_first else key.asc() for key in keys]
    return statement.order_by(*order).limit(parameter("page_limit", sa.BigInteger()))


def _beyond(statement: Any, keys: list[sa.Column[Any]], *, newest_first: bool) -> Any:
    last = sa.tuple_(*(parameter(f"after_{index}", key.type) for index, key in enumerate(keys)))
    row = sa.tuple_(*keys)
    return statement.where(row < last if newest_first else row > last)
