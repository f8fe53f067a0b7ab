"""Rows become Structs: positionally, with a conversion only where a column needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from fortress.data.columns import Convert, field
from fortress.data.entity import Entity, shape_of
from fortress.errors import CannotStart

Row = Sequence[Any]
Load = Callable[[Row], Any]


def loader(into: type[Any], columns: Sequence[str]) -> Load:
    """What makes one `into` of one row of these columns.

    Args:
        into: a Struct with these fields in this order, or a plain type for a single column.
        columns: the names of the row's columns.

    Raises:
        CannotStart: they don't match.
    """
    if isinstance(into, type) and issubclass(into, msgspec.Struct):
        return _struct(into, columns)
    if len(columns) != 1:
        raise CannotStart(f"{_name(into)} is one value, but the query has {len(columns)} columns")
    load = field(columns[0], into).load
    return (lambda row: row[0]) if load is None else (lambda row: load(row[0]))


def _struct(into: type[msgspec.Struct], columns: Sequence[str]) -> Load:
    if tuple(columns) != into.__struct_fields__:
        wanted, given = ", ".join(into.__struct_fields__), ", ".join(columns)
        raise CannotStart(f"{into.__qualname__} has the fields ({wanted}), but the query has the columns ({given})")
    if into.__match_args__ != into.__struct_fields__:
        raise CannotStart(f"{into.__qualname__} has keyword-only fields; rows are read by position")
    converts = tuple((index, load) for index, load in enumerate(_loads(into)) if load is not None)
    if not converts:
        return lambda row: into(*row)
    return _converting(into, converts)


def _converting(into: type[msgspec.Struct], converts: Iterable[tuple[int, Convert]]) -> Load:
    def load(row: Row) -> Any:
        values = list(row)
        for index, convert in converts:
            values[index] = convert(values[index])
        return into(*values)

    return load


def _loads(into: type[msgspec.Struct]) -> list[Convert | None]:
    if issubclass(into, Entity):
        return [one.load for one in shape_of(into).fields]
    return [field(one.name, one.type).load for one in msgspec.structs.fields(into)]


def _name(into: object) -> str:
    return getattr(into, "__qualname__", str(into))
