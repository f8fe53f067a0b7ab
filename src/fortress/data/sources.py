"""Which tables a statement reads and writes, and whether it is about a single row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import UpdateBase

from fortress.data.compile import GIVEN
from fortress.data.entity import Entity, entity_of, shape_of


def tables_read(statement: Any) -> frozenset[str] | None:
    """The names of all tables in it, joins, subqueries and common table expressions included; None: parts of it are plain text."""
    found = set()
    for element in _elements(statement):
        if isinstance(element, (sa.TextClause, sa.TextualSelect)):
            return None
        if isinstance(element, sa.TableClause):
            found.add(element.name)
    return frozenset(found)


def entities_written(statement: Any) -> tuple[type[Entity], ...]:
    """The entities whose rows it inserts, updates or deletes, also within a common table expression."""
    targets = (element.table for element in _elements(statement) if isinstance(element, UpdateBase))
    return tuple(dict.fromkeys(entity for entity in map(entity_of, targets) if entity is not None))


def is_locking(statement: Any) -> bool:
    """Whether it locks the rows that it reads."""
    selects = (element for element in _elements(statement) if isinstance(element, sa.Select))
    # SQLAlchemy has no public way to ask.
    return any(select._for_update_arg is not None for select in selects)  # noqa: SLF001


def only_row(statement: Any) -> tuple[str, str] | None:
    """The table of the one row that this is about, and the parameter that holds its key; None: it may be about others too."""
    table = _only_table(statement)
    entity = entity_of(table)
    if entity is None:
        return None
    key = entity.table.c[shape_of(entity).key]
    return next(((table.name, name) for name in _equal(statement.whereclause, key)), None)


def changed_with(entity: type[Entity]) -> Iterator[str]:
    """The tables whose removed rows take or change rows of this entity along."""
    for foreign in entity.table.foreign_keys:
        if foreign.ondelete not in (None, "RESTRICT", "NO ACTION"):
            yield foreign.target_fullname.rpartition(".")[0]


def _elements(statement: Any) -> Iterator[Any]:
    """Everything in it, each once. What a column belongs to counts too: an UPDATE names what it reads besides in no other way."""
    waiting, seen = [statement], dict[int, Any]()
    while waiting:
        element = waiting.pop()
        if id(element) in seen:
            continue
        seen[id(element)] = element
        yield element
        waiting.extend(element.get_children())
        table = getattr(element, "table", None)
        if isinstance(table, sa.FromClause):
            waiting.append(table)


def _only_table(statement: Any) -> Any:
    """The table of a statement that names one and nothing else."""
    if any(isinstance(element, sa.SelectBase) and element is not statement for element in _elements(statement)):
        return None
    if isinstance(statement, (sa.Update, sa.Delete)):
        return statement.table
    froms = statement.get_final_froms() if isinstance(statement, sa.Select) else []
    return froms[0] if len(froms) == 1 else None


def _equal(condition: Any, key: sa.Column[Any]) -> Iterator[str]:
    """The parameters that must equal the key where this condition holds."""
    if isinstance(condition, sa.BooleanClauseList) and condition.operator is operators.and_:
        for part in condition.clauses:
            yield from _equal(part, key)
    elif isinstance(condition, sa.BinaryExpression) and condition.operator is operators.eq and condition.left is key:
        given = condition.right
        if isinstance(given, sa.BindParameter) and given.required:
            yield given.key.removeprefix(GIVEN)
