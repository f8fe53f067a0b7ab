"""Statements become text once; a call only puts its values in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg, PGDialect_asyncpg
from sqlalchemy.sql import visitors
from sqlalchemy.sql.selectable import FromClause

from fortress.data.columns import Convert, dump_json
from fortress.data.entity import entity_of, shape_of
from fortress.errors import CannotStart

S = TypeVar("S", bound=sa.ClauseElement)

OWNER = "principal_id"
GIVEN = "given_"
_CONSTANT = (str, int, list, tuple, set, frozenset)


class _Compiler(PGCompiler_asyncpg):
    """Constants become part of the text: one text per query, and the planner sees what a partial index needs."""

    def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> str:
        if bindparam.expanding and bindparam.required:
            name = bindparam.key.removeprefix(GIVEN)
            raise CannotStart(f"in_(param({name!r})) has no fixed text; write column == any_(param({name!r}, list[...]))")
        if _is_constant(bindparam):
            kw["literal_binds"] = True
        parent: Any = super()
        text: str = parent.visit_bindparam(bindparam, *args, **kw)
        return text


class _Dialect(PGDialect_asyncpg):
    """PostgreSQL with `standard_conforming_strings`, where a backslash is a backslash."""

    statement_compiler = _Compiler
    supports_statement_cache = True
    _backslash_escapes = False


_new_dialect: Callable[[], Any] = _Dialect
_DIALECT: Final = _new_dialect()


class Compiled:
    """One statement's text and the order of its values.

    Attributes:
        sql: PostgreSQL's, with `$n` for each value.
        names: of the values, in order; OWNER stands for the principal's id.
    """

    __slots__ = ("_constants", "_count", "_dumps", "_ordered", "_plain", "names", "sql")

    def __init__(self, statement: sa.ClauseElement) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        binds = [compiled.binds[name] for name in compiled.positiontup or ()]
        self.sql: str = " ".join(compiled.string.split("\n"))
        self.names = tuple(bind.key.removeprefix(GIVEN) for bind in binds)
        self._constants = {name: bind.value for name, bind in zip(self.names, binds, strict=True) if not bind.required}
        self._dumps: tuple[tuple[int, Convert], ...] = tuple(
            (index, _dump_json) for index, bind in enumerate(binds) if isinstance(bind.type, JSONB)
        )
        self._count = len(self.names) - len(self._constants)
        self._ordered = _ordered(self.names)
        self._plain = not (self._constants or self._dumps)

    def arguments(self, given: dict[str, Any]) -> Sequence[Any]:
        """The values in the statement's order.

        Raises:
            TypeError: a parameter is missing or not one of the query's.
        """
        if len(given) != self._count:
            raise TypeError(self._expected(given))
        try:
            if self._plain:
                return self._ordered(given)
            values = list(self._ordered(given | self._constants))
        except KeyError:
            raise TypeError(self._expected(given)) from None
        for index, dump in self._dumps:
            values[index] = dump(values[index])
        return values

    def _expected(self, given: dict[str, Any]) -> str:
        wanted = ", ".join(name for name in self.names if name not in self._constants and name != OWNER)
        return f"the query takes ({wanted}), not ({', '.join(name for name in given if name != OWNER)})"


def _ordered(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """What takes these out of a dict, in this order."""
    if len(names) > 1:
        return itemgetter(*names)
    if not names:
        return lambda _: ()
    (only,) = names
    return lambda given: (given[only],)


def parameter(name: str, kind: Any) -> sa.BindParameter[Any]:
    """A value given at each call. Its inner name never meets a column's."""
    return sa.bindparam(GIVEN + name, type_=kind)


def both(statement: Any) -> tuple[Compiled, Compiled | None]:
    """The statement for those who reach everything, and for those who reach their own; None when that is the same."""
    own = scoped(statement)
    return Compiled(statement), None if own is None else Compiled(own)


def scoped(statement: S) -> S | None:
    """The statement over the principal's own rows only; None when no table in it has an owner.

    Every table with an owner is scoped, in subqueries and common table expressions too.
    """
    found: list[FromClause] = []
    whole = _scope(statement, found)
    return whole if found else None


def _scope(statement: S, found: list[FromClause]) -> S:
    def inner(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.Select) and element is not statement:
            return _scope(element, found)
        return None

    replaced: Any = visitors.replacement_traverse(statement, {}, inner)
    for table, owner in _owned(replaced):
        found.append(table)
        replaced = replaced.where(table.c[owner] == sa.bindparam(OWNER, type_=sa.Uuid()))
    narrowed: S = replaced
    return narrowed


def _owned(statement: Any) -> Iterator[tuple[FromClause, str]]:
    for table in _sources(statement):
        entity = entity_of(table.element if isinstance(table, sa.Alias) else table)
        owner = shape_of(entity).owner if entity else None
        if owner:
            yield table, owner


def _sources(statement: Any) -> Iterator[Any]:
    if isinstance(statement, sa.Select):
        for source in statement.get_final_froms():
            yield from _leaves(source)
    elif isinstance(statement, (sa.Update, sa.Delete)):
        yield from dict.fromkeys((statement.table, *_joined(statement)))


def _leaves(source: Any) -> Iterator[Any]:
    if isinstance(source, sa.Join):
        yield from _leaves(source.left)
        yield from _leaves(source.right)
    else:
        yield source


def _joined(statement: Any) -> Iterator[Any]:
    """The tables that an UPDATE or DELETE reads besides its own: those of the columns outside its subqueries."""
    waiting = [statement]
    while waiting:
        element = waiting.pop()
        if isinstance(element, sa.Select):
            continue
        if isinstance(element, sa.Column):
            yield element.table
        waiting.extend(element.get_children())


def _is_constant(bind: sa.BindParameter[Any]) -> bool:
    return not bind.required and isinstance(bind.value, _CONSTANT) and not isinstance(bind.type, (JSONB, sa.ARRAY))


def _dump_json(value: Any) -> str | None:
    return None if value is None else dump_json(value)
