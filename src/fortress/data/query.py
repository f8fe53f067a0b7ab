"""Queries: declared in a repository, compiled once, called with a reader or a unit.

class OrderRepository(Repository[Order]):
    by_id = one(select(Order).where(Order.c.id == param("id")))
    paid = many(select(Order).where(Order.c.status == OrderStatus.PAID), limit=500)
    recent = page(select(Order), newest_first=Order.c.created_at)
    ship = change(update(Order).where(...).values(...).returning(*Order.c))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert as Insertion
from sqlalchemy.dialects.postgresql import insert as _insert
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

from fortress.data.columns import sql_type
from fortress.data.compile import OWNER, Compiled, both, parameter, scoped
from fortress.data.entity import Entity, Shape, entity_of, shape_of
from fortress.data.outgoing import Held
from fortress.data.personal.fences import check
from fortress.data.personal.opening import Opener
from fortress.data.reader import Reader, Rows
from fortress.data.rows import Loader, loader
from fortress.data.sources import entities_written, only_row
from fortress.errors import CannotStart, NotFound
from fortress.security.permissions import Reach

if TYPE_CHECKING:
    from fortress.data.unit import Unit

T = TypeVar("T")
E = TypeVar("E", bound=Entity)

MOST: Final = 1000
_ANYONE: Final = Reach.ANY

Changing = sa.Update | sa.Delete | sa.Insert
Returning = ReturningInsert[*tuple[Any, ...]] | ReturningUpdate[*tuple[Any, ...]] | ReturningDelete[*tuple[Any, ...]]
Anything = sa.Select[*tuple[Any, ...]]


def param(name: str, kind: Any = None) -> Any:
    """A value given by this name at each call.

    `kind` is its Python type, where no column beside it tells: `column == any_(param("ids", list[UUID]))`.
    """
    return parameter(name, None if kind is None else sql_type(kind))


@overload
def select(entity: type[E], /) -> sa.Select[E]: ...
@overload
def select(*columns: Any) -> Anything: ...
def select(*columns: Any) -> Any:
    """SELECT an entity's columns, or these columns."""
    return sa.select(*(one.table if isinstance(one, type) and issubclass(one, Entity) else one for one in columns))


def insert(entity: type[Entity]) -> Insertion:
    """INSERT into an entity's table, with PostgreSQL's ON CONFLICT. For plain rows `repository.add` is shorter."""
    return _insert(entity.table)


def update(entity: type[Entity]) -> sa.Update:
    """UPDATE of an entity's table."""
    return sa.update(entity.table)


def delete(entity: type[Entity]) -> sa.Delete:
    """DELETE from an entity's table."""
    return sa.delete(entity.table)


def revision(entity: type[Entity]) -> Any:
    """A number that is another one after every write of the row, by whomever; as a column and to compare with.

    It is the transaction that wrote the row (`xmin`), as PostgreSQL keeps it in every row.
    """
    mark = sa.literal_column(f"{entity.table.name}.xmin", sa.Text())
    return sa.cast(sa.cast(mark, sa.Text()), sa.BigInteger()).label("revision")


class Query:
    """A statement with a name, compiled for callers who reach everything and for those who reach their own.

    Attributes:
        name: `Repository.attribute`, in metrics and cursors.
        statement: as declared.
        scoped: whether it carries the caller's reach.
    """

    def __init__(self, statement: Any, into: Any = None) -> None:
        self.name = "query"
        self.statement = statement
        self._row = only_row(statement)
        self._blind = check(statement, _columns(statement), into)
        self._opener = _opener(into)
        # Decided here: what touches nothing personal pays nothing for it.
        self._plain = not self._blind and self._opener is None
        self._anyone: Compiled | None = None
        self._own: Compiled | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"{owner.__name__}.{name}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def scoped(self) -> bool:
        return self._own is not None

    @property
    def sql(self) -> str:
        """Its text for a caller who reaches everything."""
        return self._anyone.sql if self._anyone else ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that it may send."""
        return tuple(one.sql for one in (self._anyone, self._own) if one is not None)

    @property
    def personal(self) -> bool:
        """Whether it reads what is encrypted, or looks something up by a blind index."""
        return not self._plain

    @property
    def row_table(self) -> str | None:
        """The table of the only row that each call is about; None: a call may be about others too."""
        return self._row[0] if self._row else None

    def row(self, given: Mapping[str, Any]) -> UUID | None:
        """The key of the only row that a call with these values is about; None: it may be about others too."""
        if self._row is None:
            return None
        value = given.get(self._row[1])
        if value is None or isinstance(value, UUID):
            return value
        try:
            return UUID(str(value))
        except ValueError:
            return None

    def prepare(self) -> None:
        """Compile it; a repository does so when its class is made.

        Raises:
            CannotStart: its rows can't become what it says.
        """
        self._anyone, self._own = both(self.statement)

    async def rows(self, reader: Reader, given: dict[str, Any]) -> Rows:
        """The rows of one call, as they are kept."""
        if self._blind:
            await reader.personal.digests(self._blind, given)
        return await reader.rows(*self.bound(reader, given))

    async def made(self, load: Loader, reader: Reader, rows: Rows) -> list[Any]:
        """What these rows become, opened where something of them is personal."""
        return load.all(rows) if self._opener is None else load.of_columns(await self._opener.opened(reader, rows))

    def bound(self, reader: Reader, given: dict[str, Any]) -> tuple[str, Sequence[Any]]:
        """The text and values of one call. `given` may be changed."""
        compiled = self._anyone
        if self._own is not None:
            principal = reader.principal
            if principal.reach is not _ANYONE:
                compiled = self._own
                given[OWNER] = principal.id
        if compiled is None:
            raise CannotStart(f"{self.name} is not part of a repository")
        return compiled.sql, compiled.arguments(given)


class One(Query, Generic[T]):
    """A query for one row. See `one`."""

    def __init__(self, statement: Any, into: Any) -> None:
        self.into, found = result_of(statement, into)
        super().__init__(statement, self.into)
        self.missing: type[NotFound] = found.missing if found else NotFound
        self._load = loader(self.into, names_of(statement))
        if statement._limit_clause is None:  # noqa: SLF001 - SQLAlchemy has no public way to ask
            self.statement = statement.limit(1)

    async def __call__(self, reader: Reader, /, **given: Any) -> T:
        """The row.

        Raises:
            NotFound: it is not there, or not within the caller's reach.
        """
        if self._plain:
            # As `maybe`, without a call: this is the hottest read of all.
            rows = await reader.rows(*self.bound(reader, given))
            if rows:
                return cast(T, self._load.one(rows[0]))
            raise self.missing
        found = await self.maybe(reader, **given)
        if found is None:
            raise self.missing
        return found

    async def maybe(self, reader: Reader, /, **given: Any) -> T | None:
        """The row, or None."""
        if self._plain:
            rows = await reader.rows(*self.bound(reader, given))
            return self._load.one(rows[0]) if rows else None
        found = await self.made(self._load, reader, await self.rows(reader, given))
        return found[0] if found else None


class Many(Query, Generic[T]):
    """A query for a bounded number of rows. See `many`."""

    def __init__(self, statement: Any, into: Any, limit: int) -> None:
        self.into, _ = result_of(statement, into)
        super().__init__(statement, self.into)
        self._load = loader(self.into, names_of(statement))
        if statement._limit_clause is None:  # noqa: SLF001 - as above
            self.statement = statement.limit(limit)

    async def __call__(self, reader: Reader, /, **given: Any) -> list[T]:
        """The rows, as many as the query's limit allows."""
        if self._plain:
            return self._load.all(await reader.rows(*self.bound(reader, given)))
        return await self.made(self._load, reader, await self.rows(reader, given))


class Change(Query, Generic[T]):
    """A statement that writes; only a unit of work runs it. See `change`."""

    def __init__(self, statement: Any, into: Any) -> None:
        self.returns = bool(statement.returning_column_descriptions)
        self.into = result_of(statement, into)[0] if self.returns else None
        super().__init__(statement, self.into)
        self.shapes: tuple[Shape, ...] = tuple(map(shape_of, entities_written(statement)))
        self._load: Loader | None = None
        if self.returns:
            self._load = loader(self.into, names_of(statement))
        else:
            # Counted by the rows it returns, which the driver gives at no further cost.
            self.statement = statement.returning(sa.literal_column("1"))
        self._narrow: Any = None

    async def __call__(self, unit: Unit, /, **given: Any) -> T:
        """What it returned, or the number of rows it changed."""
        if self._blind:
            await unit.personal.digests(self._blind, given)
        key = self.row(given)
        rows = await unit.change(*self.bound(unit, given), self.shapes, key)
        load = self._load
        if load is None:
            return cast(T, len(rows))
        return cast(T, await self.made(load, unit, rows))

    def later(self, unit: Unit, /, **given: Any) -> None:
        """Send it with what the unit has added, in the same statement; nobody learns how many rows it changed.

        It sees the tables as they were before that statement, and may not change a row that the unit changes otherwise.
        """
        unit.hold(self._held(unit, given))

    def guards(self, unit: Unit, /, **given: Any) -> None:
        """Let the whole unit depend on it: it goes out in one statement with what was added and is to be changed `later`; if it
        finds no row nothing of all that happens, and the unit fails with Moved.

        So what was decided by a row can be done in one round trip, as long as the row is still the same (`revision`).
        """
        unit.depend(self._held(unit, given))

    def _held(self, unit: Unit, given: dict[str, Any]) -> Held:
        if not self._plain or isinstance(self.statement, sa.Insert):
            raise CannotStart(f"{self.name} can't wait: only an UPDATE or DELETE by plain columns can")
        statement, key = self.statement, self.row(given)
        if self._own is not None and unit.principal.reach is not _ANYONE:
            self._narrow = statement = self._narrow if self._narrow is not None else scoped(self.statement)
            given[OWNER] = unit.principal.id
        return Held(statement, given, self.shapes, key)


@overload
def one(statement: sa.Select[T]) -> One[T]: ...
@overload
def one(statement: Any, *, into: type[T]) -> One[T]: ...
def one(statement: Any, *, into: Any = None) -> Any:
    """At most one row: `await repository.by_id(reader, id=…)`, or `.maybe` for one that may be absent.

    `into` is what the row becomes when it isn't the entity: a Struct with these fields in this order, or a plain type.
    """
    return One(statement, into)


@overload
def many(statement: sa.Select[T], *, limit: int = MOST) -> Many[T]: ...
@overload
def many(statement: Any, *, into: type[T], limit: int = MOST) -> Many[T]: ...
def many(statement: Any, *, into: Any = None, limit: int = MOST) -> Any:
    """Up to `limit` rows; a statement's own LIMIT goes before it."""
    return Many(statement, into, limit)


@overload
def change(statement: Any, *, into: type[T]) -> Change[list[T]]: ...
@overload
def change(statement: Returning) -> Change[list[Any]]: ...  # type: ignore[overload-overlap]  # with RETURNING rows, without it their number
@overload
def change(statement: Changing) -> Change[int]: ...
def change(statement: Any, *, into: Any = None) -> Any:
    """INSERT, UPDATE or DELETE; the rows it returns as Structs, or how many there were."""
    return Change(statement, into)


def result_of(statement: Any, into: Any) -> tuple[Any, Shape | None]:
    """What a row becomes, and the entity that it tells of."""
    tables = {getattr(column, "table", None) for column in _columns(statement)}
    source = tables.pop() if len(tables) == 1 else None
    found = entity_of(source.element if isinstance(source, sa.Alias) else source)
    shape = shape_of(found) if found else None
    if into is not None:
        return into, shape
    if shape is None or names_of(statement) != list(shape.table.c.keys()):
        raise CannotStart("the query does not select an entity; say what its rows become by into=")
    return shape.entity, shape


def _opener(into: Any) -> Opener | None:
    """What opens rows that become this; None where nothing of them is personal."""
    shape = shape_of(into) if isinstance(into, type) and issubclass(into, Entity) else None
    return Opener(shape.personal) if shape is not None and shape.personal is not None else None


def _columns(statement: Any) -> list[Any]:
    if isinstance(statement, (sa.Select, sa.CompoundSelect)):
        return list(statement.selected_columns)
    return [part["expr"] for part in statement.returning_column_descriptions]


def names_of(statement: Any) -> list[str]:
    return [column.name for column in _columns(statement)]
