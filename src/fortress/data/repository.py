"""Repositories: every question that a domain asks of one table, and no way to commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar, get_args

import msgspec

from fortress.data.compile import OWNER, Compiled
from fortress.data.entity import Entity
from fortress.data.query import Query
from fortress.data.reader import Reader
from fortress.data.unit import Unit
from fortress.data.writes import Saving
from fortress.errors import CannotStart, StaleVersion
from fortress.security.permissions import Reach

E = TypeVar("E", bound=Entity)


class Repository(Generic[E]):
    """The queries of one entity, as class attributes; they are compiled when the class is made.

    Attributes:
        entity: what it holds.
        queries: its queries by name.
    """

    entity: ClassVar[type[Entity]]
    queries: ClassVar[dict[str, Query]]
    _saving: ClassVar[Saving]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = [given for base in getattr(cls, "__orig_bases__", ()) for given in get_args(base)]
        if not (len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], Entity)):
            raise CannotStart(f"repository {cls.__qualname__} must say what it holds: Repository[Entity]")
        cls.entity = found[0]
        cls.queries = dict(_queries(cls))
        cls._saving = Saving(cls.entity)
        for query in cls.queries.values():
            query.prepare()

    async def add(self, unit: Unit, row: E) -> E:
        """Add a row. It is sent with the unit's next statement; a breach of a rule shows then, or at `unit.flush()`."""
        unit.add((row,))
        return row

    async def add_all(self, unit: Unit, rows: Iterable[E]) -> list[E]:
        """Add rows, in one statement."""
        added = list(rows)
        unit.add(added)
        return added

    async def save(self, unit: Unit, row: E) -> E:
        """Write a changed row over the one of the same key and version; the row with its next version.

        Raises:
            StaleVersion: that version is gone: changed or removed in between, or not within the caller's reach.
        """
        saving = self._saving
        personal = saving.shape.personal
        stored = row if personal is None else await unit.stored(row, personal)
        await self._one_row(unit, row, saving.save, saving.located(row) | saving.changes(stored))
        version = saving.shape.version
        return row if version is None else msgspec.structs.replace(row, **{version: getattr(row, version) + 1})

    async def remove(self, unit: Unit, row: E) -> None:
        """Remove the row of this key and version.

        Raises:
            StaleVersion: as for `save`.
        """
        await self._one_row(unit, row, self._saving.remove, self._saving.located(row))

    async def _one_row(self, unit: Unit, row: E, texts: tuple[Compiled, Compiled | None], given: dict[str, Any]) -> None:
        compiled, own = texts
        if own is not None and _bounded(unit):
            compiled = own
            given[OWNER] = unit.principal.id
        shape = self._saving.shape
        if not await unit.change(compiled.sql, compiled.arguments(given), (shape,), getattr(row, shape.key)):
            raise StaleVersion


def _bounded(reader: Reader) -> bool:
    return reader.principal.reach is not Reach.ANY


def _queries(repository: type) -> Iterator[tuple[str, Query]]:
    for name, value in vars(repository).items():
        if isinstance(value, Query):
            yield name, value
