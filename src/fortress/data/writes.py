"""What a unit writes: all its new rows, jobs and notices as one statement, and a changed row under its version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from fortress.data.compile import Compiled, parameter
from fortress.data.entity import Entity, Shape, shape_of
from fortress.data.query import both
from fortress.data.queue import JobEntry, columns, insertion

CHANNEL: Final = "fortress"
SHAPES: Final = 256
APART: Final = 8


class Batch(msgspec.Struct, frozen=True):
    """New rows of one table that go out together."""

    shape: Shape
    rows: tuple[Entity, ...]


class Statement(msgspec.Struct, frozen=True):
    """A statement with its values, and the entities that it writes."""

    sql: str
    arguments: Sequence[Any]
    shapes: tuple[Shape, ...]


class Plans:
    """The compiled texts of flushes, by what they write. Bounded; the least recently used goes first."""

    def __init__(self) -> None:
        self._known: dict[Any, Compiled] = {}

    def flush(self, rows: Sequence[Entity], notices: Sequence[str], jobs: Sequence[JobEntry] = ()) -> list[Statement]:
        """The statements that write these rows, enqueue these jobs and send these notices: one, unless many rows hold arrays."""
        *groups, last = list(_groups(rows)) or [[]]
        return [*(self._statement(group, (), ()) for group in groups), self._statement(last, notices, jobs)]

    def _statement(self, batches: Sequence[Batch], notices: Sequence[str], jobs: Sequence[JobEntry]) -> Statement:
        given: dict[str, Any] = {}
        for index, batch in enumerate(batches):
            _collect(given, index, batch)
        if notices:
            given["notices"] = list(dict.fromkeys(notices))
        if jobs:
            given |= columns(jobs)
        compiled = self._compiled(batches, notifies=bool(notices), enqueues=bool(jobs))
        return Statement(compiled.sql, compiled.arguments(given), tuple(batch.shape for batch in batches))

    def _compiled(self, batches: Sequence[Batch], *, notifies: bool, enqueues: bool) -> Compiled:
        key = (tuple((batch.shape.entity, len(batch.rows) > 1) for batch in batches), notifies, enqueues)
        compiled = self._known.pop(key, None)
        if compiled is None:
            insertions = [_insertion(index, batch) for index, batch in enumerate(batches)]
            compiled = Compiled(_whole([*insertions, *([insertion()] if enqueues else [])], notifies=notifies))
            if len(self._known) >= SHAPES:
                del self._known[next(iter(self._known))]
        self._known[key] = compiled
        return compiled


class Saving:
    """How one entity is changed and removed: by its key, its version and the caller's reach."""

    def __init__(self, entity: type[Entity]) -> None:
        shape = self.shape = shape_of(entity)
        table = shape.table
        values: dict[str, Any] = {one.name: parameter(f"new_{one.name}", table.c[one.name].type) for one in shape.changed}
        if shape.version:
            values[shape.version] = table.c[shape.version] + 1
        here = [table.c[name] == parameter(f"is_{name}", table.c[name].type) for name in _identity(shape)]
        done: sa.ColumnElement[int] = sa.literal_column("1", sa.Integer())
        self.save = both(sa.update(table).where(*here).values(values).returning(done))
        self.remove = both(sa.delete(table).where(*here).returning(done))

    def located(self, row: Entity) -> dict[str, Any]:
        return {f"is_{name}": getattr(row, name) for name in _identity(self.shape)}

    def changes(self, row: Entity) -> dict[str, Any]:
        # A jsonb value is dumped with the statement's other values; arrays are what the driver needs lists for.
        return {f"new_{one.name}": _listed(getattr(row, one.name)) for one in self.shape.changed}


def _identity(shape: Shape) -> list[str]:
    return [name for name in (shape.key, shape.version, shape.partition) if name]


def _groups(rows: Sequence[Entity]) -> Iterator[list[Batch]]:
    """All rows in one group; rows with arrays, which can't be unnested, singly and at most APART to a group."""
    together: dict[type[Entity], list[Entity]] = {}
    for row in rows:
        together.setdefault(type(row), []).append(row)
    whole: list[Batch] = []
    for entity, batch in together.items():
        shape = shape_of(entity)
        if len(batch) == 1 or not any(one.array for one in shape.written):
            whole.append(Batch(shape, tuple(batch)))
            continue
        singles = [Batch(shape, (row,)) for row in batch]
        while len(singles) > APART:
            yield singles[:APART]
            del singles[:APART]
        whole += singles
    if whole:
        yield whole


def _collect(given: dict[str, Any], index: int, batch: Batch) -> None:
    names = [one.name for one in batch.shape.written]
    values = attrgetter(*names)
    if len(batch.rows) == 1:
        columns: Any = map(_listed, values(batch.rows[0]))
        given |= zip((f"{index}_{name}" for name in names), columns, strict=True)
        return
    for one, column in zip(batch.shape.written, zip(*map(values, batch.rows), strict=True), strict=True):
        given[f"{index}_{one.name}"] = list(column) if one.dump is None else [one.dump(value) for value in column]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, frozenset, set)) else value


def _insertion(index: int, batch: Batch) -> Any:
    written = batch.shape.written
    table = batch.shape.table
    names = [one.name for one in written]
    if len(batch.rows) == 1:
        return insert(table).values({name: parameter(f"{index}_{name}", table.c[name].type) for name in names})
    arrays = [parameter(f"{index}_{one.name}", _array(one.type)) for one in written]
    rows = sa.func.unnest(*arrays).table_valued(*(sa.column(name) for name in names)).render_derived(name=f"rows_{index}")
    return insert(table).from_select(names, sa.select(*(rows.c[name] for name in names)))


def _array(kind: Any) -> Any:
    return sa.ARRAY(kind)


def _whole(insertions: list[Any], *, notifies: bool) -> Any:
    if len(insertions) == 1 and not notifies:
        return insertions[0]
    parts = [one.cte(f"written_{index}") for index, one in enumerate(insertions)]
    if not notifies:
        return sa.select(sa.literal_column("1")).add_cte(*parts)
    told = sa.func.unnest(parameter("notices", sa.ARRAY(sa.Text()))).table_valued(sa.column("notice")).render_derived(name="told")
    return sa.select(sa.func.pg_notify(sa.literal_column(f"'{CHANNEL}'"), told.c.notice)).add_cte(*parts)
