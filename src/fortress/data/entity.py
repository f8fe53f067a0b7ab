"""Entities: a msgspec Struct whose annotations declare its table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import compress
from typing import Any, ClassVar, get_type_hints

import msgspec
import sqlalchemy as sa

from fortress.data.columns import Field, Mark, field
from fortress.data.personal.fields import PersonalFields, personal_fields
from fortress.errors import CannotStart, Conflict, NotFound, Refusal

NAMES: Mapping[str, str] = {"pk": "pk_%(table_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s", "ck": "%(constraint_name)s"}


class Descending(msgspec.Struct, frozen=True):
    """A column of an index, largest first."""

    name: str


def desc(column: str) -> Descending:
    """That column of an index, largest first."""
    return Descending(column)


class Index:
    """An index: its name, its columns in order, and the condition of a partial one, as SQL."""

    def __init__(self, name: str, *columns: str | Descending, where: str | None = None) -> None:
        self.name, self.columns, self.where = name, columns, where


class Unique:
    """A unique index.

    Args:
        name: of the index.
        columns: in order, one by one or as a tuple.
        raises: the refusal that a second such row becomes; unset: Conflict `<table>.exists`.
        where: the condition of a partial one, as SQL.
    """

    def __init__(self, name: str, *columns: str | tuple[str, ...], raises: type[Refusal] | None = None, where: str | None = None) -> None:
        self.name, self.raises, self.where = name, raises, where
        self.columns = tuple(one for given in columns for one in ((given,) if isinstance(given, str) else given))


class Check:
    """A condition that every row meets, as SQL; `raises` is the refusal that a breach becomes (unset: Invalid)."""

    def __init__(self, name: str, sql: str, *, raises: type[Refusal] | None = None) -> None:
        self.name, self.sql, self.raises = name, sql, raises


class Shape:
    """What is known of an entity's table.

    Attributes:
        columns: the fields in their order, which is the order of the Struct's positional arguments.
        key, owner, version, partition: column names; None where there is none.
        missing: what a read that finds nothing raises.
        exists: what a second row of the same key raises.
        refusals: what a breach of a named index or check raises.
        personal: what of it is encrypted; None where nothing is.
    """

    def __init__(self, entity: type[Entity]) -> None:
        self.entity = entity
        self.name = entity.__tablename__
        hints = get_type_hints(entity, include_extras=True)
        self.fields: tuple[Field, ...] = tuple(field(name, hints[name]) for name in entity.__struct_fields__)
        self.key = self._one(Mark.KEY) or self._refuse("has no Key")
        self.owner = self._one(Mark.OWNER)
        self.version = self._one(Mark.VERSION)
        self.partition = entity.__partition_by__
        self.missing: type[NotFound] = type("Missing", (NotFound,), {"code": f"{self.name}.not_found"})
        self.exists: type[Conflict] = type("Exists", (Conflict,), {"code": f"{self.name}.exists", "title": "This exists already"})
        self.refusals = {part.name: part.raises for part in entity.__indexes__ if not isinstance(part, Index) and part.raises}
        self.table = self._table()
        self.personal: PersonalFields | None = personal_fields(
            entity, self.name, self.fields, key=self.key, owner=self.owner, taken=self._taken()
        )

    @cached_property
    def written(self) -> tuple[Field, ...]:
        """The fields that an INSERT carries; the server makes the others."""
        return tuple(one for one in self.fields if Mark.GENERATED not in one.marks)

    @cached_property
    def changed(self) -> tuple[Field, ...]:
        """The fields that `save` may change."""
        kept = {self.key, self.version, self.partition}
        return tuple(one for one in self.written if one.name not in kept and Mark.CREATED_AT not in one.marks)

    @cached_property
    def _carried(self) -> tuple[bool, ...]:
        return tuple(Mark.GENERATED not in one.marks for one in self.fields)

    def values(self, row: Entity) -> tuple[Any, ...]:
        """What an INSERT carries of a row, in the order of `written`."""
        return tuple(compress(msgspec.structs.astuple(row), self._carried))

    def field(self, name: str) -> Field:
        return next(one for one in self.fields if one.name == name)

    def _one(self, mark: Mark) -> str | None:
        marked = [one.name for one in self.fields if mark in one.marks]
        if len(marked) > 1:
            self._refuse(f"has more than one {mark.value}: {', '.join(marked)}")
        return marked[0] if marked else None

    def _taken(self) -> dict[str, type[Refusal]]:
        """What a second row of one value raises, by the columns that are unique by themselves."""
        unique = [part for part in self.entity.__indexes__ if isinstance(part, Unique) and len(part.columns) == 1]
        return {part.columns[0]: part.raises or self.exists for part in unique}

    def _refuse(self, problem: str) -> str:
        raise CannotStart(f"entity {self.entity.__qualname__} {problem}")

    def _table(self) -> sa.Table:
        names = [one.name for one in self.fields]
        if self.partition not in (None, *names):
            self._refuse(f"is partitioned by {self.partition}, which is not one of its fields")
        parts: list[Any] = [_column(one) for one in self.fields]
        parts.append(sa.PrimaryKeyConstraint(*([self.partition] if self.partition else []), self.key))
        parts += [sa.CheckConstraint(one.check, name=f"ck_{self.name}_{one.name}") for one in self.fields if one.check]
        dialect: dict[str, Any] = {"postgresql_partition_by": f"RANGE ({self.partition})"} if self.partition else {}
        # Of its own metadata: which entities make one schema is said by a Catalogue, not by what happens to be imported.
        metadata = sa.MetaData(naming_convention=dict(NAMES))
        table: sa.Table = sa.Table(
            self.name, metadata, *parts, info={"entity": self.entity, "keep_months": self.entity.__keep_months__}, **dialect
        )
        for part in self.entity.__indexes__:
            _attach(part, table)
        return table


def _column(one: Field) -> sa.Column[Any]:
    parts: list[Any] = []
    if one.references:
        parts.append(sa.ForeignKey(one.references.target, ondelete=one.references.on_delete))
    if Mark.GENERATED in one.marks and one.default is None:
        parts.append(sa.Identity(always=True))
    default = sa.text(one.default) if one.default else None
    return sa.Column(one.name, one.type, *parts, nullable=one.nullable, server_default=default)


def _attach(part: Index | Unique | Check, table: sa.Table) -> None:
    if isinstance(part, Check):
        table.append_constraint(sa.CheckConstraint(part.sql, name=part.name))
        return
    columns = [table.c[one.name].desc() if isinstance(one, Descending) else table.c[one] for one in part.columns]
    where = sa.text(part.where) if part.where else None
    sa.Index(part.name, *columns, unique=isinstance(part, Unique), postgresql_where=where)


class _Table:
    def __get__(self, instance: Entity | None, entity: type[Entity]) -> sa.Table:
        return shape_of(entity).table


class _Columns:
    def __get__(self, instance: Entity | None, entity: type[Entity]) -> sa.ColumnCollection[str, sa.Column[Any]]:
        return shape_of(entity).table.columns


class Entity(msgspec.Struct, frozen=True, gc=False):
    """One row of one table. Its `repr` shows its key alone, so that no log and no traceback shows what it holds.

    Attributes:
        __tablename__: the table's name, plural.
        __indexes__: indexes, unique ones and checks.
        __partition_by__: the timestamp by whose month the table is partitioned; it joins the primary key.
        __keep_months__: whole months of such a table that are kept beside the present one; None keeps all.
        table: the SQLAlchemy table.
        c: its columns.
    """

    __tablename__: ClassVar[str]
    __indexes__: ClassVar[tuple[Index | Unique | Check, ...]] = ()
    __partition_by__: ClassVar[str | None] = None
    __keep_months__: ClassVar[int | None] = None
    table: ClassVar[_Table] = _Table()
    c: ClassVar[_Columns] = _Columns()

    def __repr__(self) -> str:
        shape = shape_of(type(self))
        return f"<{type(self).__name__} {shape.key}={getattr(self, shape.key)}>"


def shape_of(entity: type[Entity]) -> Shape:
    """The entity's table and what its columns are for; made at first use.

    Raises:
        CannotStart: the entity has no table name, no Key, or two of what it may have one of.
    """
    known = entity.__dict__.get("__shape__")
    if isinstance(known, Shape):
        return known
    if not getattr(entity, "__tablename__", None):
        raise CannotStart(f"entity {entity.__qualname__} has no __tablename__")
    shape = Shape(entity)
    type.__setattr__(entity, "__shape__", shape)
    return shape


def entity_of(table: object) -> type[Entity] | None:
    """The entity that declares this table."""
    found = table.info.get("entity") if isinstance(table, sa.Table) else None
    return found if isinstance(found, type) and issubclass(found, Entity) else None
