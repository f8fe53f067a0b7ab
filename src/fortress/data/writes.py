"""What a unit writes: all its new rows, jobs and notices as one statement, and a changed row under its version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import visitors

from fortress.data.compile import GIVEN, OWNER, Compiled, both, parameter
from fortress.data.entity import Entity, Shape, shape_of
from fortress.data.outgoing import Outgoing
from fortress.data.queue import columns, insertion

CHANNEL: Final = "fortress"
SHAPES: Final = 256
APART: Final = 8
_ONE: Final = sa.literal_column("1", sa.Integer())


class Batch(msgspec.Struct, frozen=True):
    """New rows of one table that go out together."""

    shape: Shape
    rows: tuple[Entity, ...]


class Statement(msgspec.Struct, frozen=True):
    """A statement with its values, the entities that it writes, and whether it has done nothing when it returns no row."""

    sql: str
    arguments: Sequence[Any]
    shapes: tuple[Shape, ...]
    guarded: bool = False


class Plans:
    """The compiled texts of flushes, by what they write. Bounded; the least recently used goes first."""

    def __init__(self) -> None:
        self._known: dict[Any, Compiled] = {}

    def flush(self, out: Outgoing) -> list[Statement]:
        """The statements that do all this: one, unless many rows hold arrays. What the others depend on is in the first."""
        groups = list(_groups(out.rows)) or [[]]
        if len(groups) == 1:
            return [self._statement(groups[0], out)]
        first, last = Outgoing(), Outgoing()
        first.guard, first.changes = out.guard, out.changes
        last.jobs, last.notices = out.jobs, out.notices
        between = [self._statement(group, Outgoing()) for group in groups[1:-1]]
        return [self._statement(groups[0], first), *between, self._statement(groups[-1], last)]

    def _statement(self, batches: Sequence[Batch], out: Outgoing) -> Statement:
        given: dict[str, Any] = {}
        for index, batch in enumerate(batches):
            _collect(given, index, batch)
        for index, held in enumerate(out.held):
            given |= {name if name == OWNER else f"held_{index}_{name}": value for name, value in held.given.items()}
        if out.notices:
            given["notices"] = list(dict.fromkeys(out.notices))
        if out.jobs:
            given |= columns(out.jobs)
        compiled = self._compiled(batches, out)
        shapes = [batch.shape for batch in batches] + [shape for held in out.held for shape in held.shapes]
        return Statement(compiled.sql, compiled.arguments(given), tuple(shapes), out.guard is not None)

    def _compiled(self, batches: Sequence[Batch], out: Outgoing) -> Compiled:
        held = tuple(one.statement for one in out.held)
        rows = tuple((batch.shape.entity, len(batch.rows) > 1) for batch in batches)
        key = (rows, held, out.guard is not None, bool(out.notices), bool(out.jobs))
        compiled = self._known.pop(key, None)
        if compiled is None:
            compiled = Compiled(_whole(batches, out))
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
    written, values = batch.shape.written, batch.shape.values
    if len(batch.rows) == 1:
        for one, value in zip(written, values(batch.rows[0]), strict=True):
            given[f"{index}_{one.name}"] = _listed(value)
        return
    for one, column in zip(written, zip(*map(values, batch.rows), strict=True), strict=True):
        given[f"{index}_{one.name}"] = list(column) if one.dump is None else [one.dump(value) for value in column]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, frozenset, set)) else value


def _apart(index: int, statement: Any) -> Any:
    """The statement, with names of values that no other one has."""

    def renamed(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.BindParameter) and element.key.startswith(GIVEN):
            return parameter(f"held_{index}_{element.key.removeprefix(GIVEN)}", element.type)
        return None

    return visitors.replacement_traverse(statement, {}, renamed)


def _insertion(index: int, batch: Batch, condition: Any) -> Any:
    """INSERT; under a condition as a SELECT, which can have one."""
    written = batch.shape.written
    table = batch.shape.table
    names = [one.name for one in written]
    if len(batch.rows) == 1:
        values = {name: parameter(f"{index}_{name}", table.c[name].type) for name in names}
        if condition is None:
            return insert(table).values(values)
        typed = [sa.cast(values[name], table.c[name].type) for name in names]
        return insert(table).from_select(names, sa.select(*typed).where(condition))
    arrays = [parameter(f"{index}_{one.name}", _array(one.type)) for one in written]
    rows = sa.func.unnest(*arrays).table_valued(*(sa.column(name) for name in names)).render_derived(name=f"rows_{index}")
    return insert(table).from_select(names, _only_if(condition, sa.select(*(rows.c[name] for name in names))))


def _array(kind: Any) -> Any:
    return sa.ARRAY(kind)


def _only_if(condition: Any, statement: Any) -> Any:
    return statement if condition is None else statement.where(condition)


def _whole(batches: Sequence[Batch], out: Outgoing) -> Any:
    """All of it as one statement. With a guard it returns rows only if that found its row, and else has done nothing.

    PostgreSQL runs every part of a WITH that writes to its end, and each sees the tables as they were before; only what a part
    returns is seen by the others. So each of them asks whether the guard has returned something.
    """
    held = [_apart(index, one.statement) for index, one in enumerate(out.held)]
    guard = held.pop(0).cte("guard") if out.guard is not None else None
    condition = None if guard is None else sa.exists(sa.select(_ONE).select_from(guard))
    insertions = [_insertion(index, batch, condition) for index, batch in enumerate(batches)]
    insertions += [insertion(condition)] if out.jobs else []
    if len(insertions) == 1 and not (out.held or out.notices):
        return insertions[0]
    parts = [one.cte(f"written_{index}") for index, one in enumerate(insertions)]
    parts += [_only_if(condition, one).cte(f"changed_{index}") for index, one in enumerate(held)]
    last = _telling() if out.notices else sa.select(_ONE)
    return _only_if(condition, last).add_cte(*([] if guard is None else [guard]), *parts)


def _telling() -> Any:
    told = sa.func.unnest(parameter("notices", sa.ARRAY(sa.Text()))).table_valued(sa.column("notice")).render_derived(name="told")
    return sa.select(sa.func.pg_notify(sa.literal_column(f"'{CHANNEL}'"), told.c.notice))
