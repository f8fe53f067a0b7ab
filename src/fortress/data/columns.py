"""How a field's annotation becomes a column, and how its values travel.

    UUID → UUID        str → TEXT            int → BIGINT           bool → BOOLEAN      float → DOUBLE PRECISION
    Decimal → NUMERIC  datetime → TIMESTAMPTZ date → DATE           timedelta → INTERVAL bytes → BYTEA
    StrEnum, Literal → TEXT with a CHECK     list/tuple/frozenset of these → an array    anything else → JSONB
    Personal[str], Personal[bytes] → BYTEA, which holds the value encrypted

`X | None` makes the column nullable; everything else is NOT NULL.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine, UserDefinedType

T = TypeVar("T")
Convert = Callable[[Any], Any]


class Mark(Enum):
    """What a column is for."""

    KEY = "key"
    OWNER = "owner"
    CREATED_AT = "created_at"
    VERSION = "version"
    GENERATED = "generated"
    PERSONAL = "personal"


class Text(msgspec.Struct, frozen=True):
    """TEXT of at most so many characters."""

    longest: int


class Numeric(msgspec.Struct, frozen=True):
    """NUMERIC of so many digits, so many of them behind the point."""

    precision: int
    scale: int


class Sql(msgspec.Struct, frozen=True):
    """A PostgreSQL type by its own name, where the annotation's usual one doesn't fit."""

    name: str


class Default(msgspec.Struct, frozen=True):
    """The server's default, as SQL; rows that were there before the column need one."""

    sql: str


class References(msgspec.Struct, frozen=True):
    """A foreign key within the domain: `table.column`, and what happens when that row goes."""

    target: str
    on_delete: Literal["RESTRICT", "CASCADE", "SET NULL", "NO ACTION"] = "RESTRICT"


class Blind(msgspec.Struct, frozen=True):
    """A blind index: what a personal column is found by. The data layer fills it at every write; in Python it is always empty.

        email_key: Annotated[bytes, Blind("email", comparable)] = b""

    It tells which rows hold the same value, to whoever sees the table: never for columns of few values.

    Attributes:
        of: the personal column.
        normal: the one form in which its values are compared; unset: as they are.
    """

    of: str
    normal: Callable[[str], str] | None = None


Key = Annotated[UUID, Mark.KEY]
Owner = Annotated[UUID, Mark.OWNER]
OwnKey = Annotated[UUID, Mark.KEY, Mark.OWNER]
CreatedAt = Annotated[datetime, Mark.CREATED_AT]
Version = Annotated[int, Mark.VERSION]
Generated = Annotated[T, Mark.GENERATED]
Personal = Annotated[T, Mark.PERSONAL]


class SqlType(UserDefinedType[Any]):
    """A type that SQLAlchemy has no class for."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: object) -> str:
        return self.name


class Field(msgspec.Struct, frozen=True):
    """One field of an entity as a column.

    Attributes:
        load: makes the field's value of the driver's; None when they are the same.
        dump: makes the driver's value of the field's; None when they are the same.
        check: a condition that every value meets, as SQL.
    """

    name: str
    python: Any
    type: TypeEngine[Any]
    nullable: bool
    load: Convert | None
    dump: Convert | None
    check: str | None
    marks: frozenset[Mark]
    default: str | None
    references: References | None
    blind: Blind | None

    @property
    def array(self) -> bool:
        return isinstance(self.type, sa.ARRAY)

    @property
    def personal(self) -> bool:
        return Mark.PERSONAL in self.marks


_PLAIN: tuple[tuple[type, TypeEngine[Any]], ...] = (
    (UUID, sa.Uuid()),
    (str, sa.Text()),
    (bool, sa.Boolean()),
    (int, sa.BigInteger()),
    (float, sa.Double()),
    (Decimal, sa.Numeric()),
    (datetime, sa.DateTime(timezone=True)),
    (date, sa.Date()),
    (timedelta, sa.Interval()),
    (bytes, sa.LargeBinary()),
)
_SEQUENCES: tuple[type, ...] = (list, tuple, frozenset, set)


def field(name: str, annotation: Any) -> Field:
    """The column that a field's annotation declares."""
    annotation, extras = _bare(annotation)
    annotation, nullable = _not_none(annotation)
    annotation, more = _bare(annotation)
    extras += more
    personal = Mark.PERSONAL in extras
    kind, load, dump = (sa.LargeBinary(), None, None) if personal else _kind(annotation, extras)
    return Field(
        name=name,
        python=annotation,
        type=kind,
        nullable=nullable,
        load=_passing_none(load) if nullable else load,
        dump=_passing_none(dump) if nullable else dump,
        check=None if personal else _check(name, annotation, extras),
        marks=frozenset(extra for extra in extras if isinstance(extra, Mark)),
        default=next((extra.sql for extra in extras if isinstance(extra, Default)), None),
        references=next((extra for extra in extras if isinstance(extra, References)), None),
        blind=next((extra for extra in extras if isinstance(extra, Blind)), None),
    )


def sql_type(annotation: Any) -> TypeEngine[Any]:
    """The SQL type of a Python one: `list[UUID]` is `UUID[]`."""
    return field("", annotation).type


def dump_json(value: Any) -> str:
    """JSON text, as PostgreSQL's jsonb takes it."""
    return msgspec.json.encode(value).decode()


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        return inner, tuple(extras)
    return annotation, ()


def _not_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    arms = [arm for arm in get_args(annotation) if arm is not types.NoneType]
    nullable = len(arms) < len(get_args(annotation))
    return (arms[0] if len(arms) == 1 else Union[tuple(arms)]), nullable  # noqa: UP007 - the arms are known at run time only


def _kind(annotation: Any, extras: tuple[Any, ...]) -> tuple[TypeEngine[Any], Convert | None, Convert | None]:
    for extra in extras:
        if isinstance(extra, Sql):
            return SqlType(extra.name), None, None
        if isinstance(extra, Numeric):
            return sa.Numeric(extra.precision, extra.scale), None, None
    scalar = _scalar(annotation)
    if scalar is not None:
        return scalar, _loaded_as(annotation), None
    element = _element(annotation)
    if element is not None and (inner := _scalar(element)) is not None:
        return sa.ARRAY(inner), _sequence_of(get_origin(annotation), _loaded_as(element)), list
    return JSONB(), msgspec.json.Decoder(annotation).decode, dump_json


def _scalar(annotation: Any) -> TypeEngine[Any] | None:
    if get_origin(annotation) is Literal:
        return sa.Text()
    if not isinstance(annotation, type):
        return None
    return next((kind for known, kind in _PLAIN if issubclass(annotation, known)), None)


def _element(annotation: Any) -> Any:
    arguments = get_args(annotation)
    if get_origin(annotation) in _SEQUENCES and arguments and arguments[1:] in ((), (...,)):
        return arguments[0]
    return None


def _loaded_as(annotation: Any) -> Convert | None:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return {member.value: member for member in annotation}.__getitem__
    return None


def _sequence_of(kind: Any, load: Convert | None) -> Convert | None:
    if load is None:
        return None if kind is list else kind
    return lambda values: kind(map(load, values))


def _passing_none(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda value: None if value is None else convert(value)


def _check(name: str, annotation: Any, extras: tuple[Any, ...]) -> str | None:
    column = f'"{name}"'
    longest = next((extra.longest for extra in extras if isinstance(extra, Text)), None)
    if longest is not None:
        return f"char_length({column}) <= {longest}"
    allowed: tuple[str, ...] = ()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        allowed = tuple(member.value for member in annotation)
    if get_origin(annotation) is Literal:
        allowed = get_args(annotation)
    if not allowed:
        return None
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in allowed)
    return f"{column} IN ({listed})"
