"""The catalogue: every entity, table and query of one assembled project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from fortress.data.claims import KeptAnswer
from fortress.data.entity import NAMES, Entity, shape_of
from fortress.data.journal import AuditEntry, EventEntry
from fortress.data.personal.tables import DataKeyRow, IndexKeyRow
from fortress.data.query import Query
from fortress.data.repository import Repository
from fortress.errors import CannotStart

# The runtime's own, which every project stores.
OWN: Final[tuple[type[Entity], ...]] = (AuditEntry, EventEntry, DataKeyRow, IndexKeyRow, KeptAnswer)


class Catalogue:
    """What a project stores, by table.

    Args:
        entities: of every domain.
        repositories: of every domain.

    Raises:
        CannotStart: two entities declare one table.

    Attributes:
        entities: by table.
        queries: by name.
        metadata: all tables as one schema, for migrations.
    """

    def __init__(self, entities: Iterable[type[Entity]], repositories: Iterable[type[Repository[Any]]] = ()) -> None:
        self.entities: Mapping[str, type[Entity]] = _by_table(entities)
        self.queries: Mapping[str, Query] = {query.name: query for one in repositories for query in one.queries.values()}
        self.metadata = sa.MetaData(naming_convention=dict(NAMES))
        for entity in self.entities.values():
            entity.table.to_metadata(self.metadata)


def declared_entities() -> Iterator[type[Entity]]:
    """Every entity with a table that has been imported, in the order of declaration."""
    for entity in _below(Entity):
        if getattr(entity, "__tablename__", None):
            yield entity


def declared_repositories() -> Iterator[type[Repository[Any]]]:
    """Every repository that has been imported, in the order of declaration."""
    yield from _below(Repository)


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def _by_table(entities: Iterable[type[Entity]]) -> dict[str, type[Entity]]:
    tables: dict[str, type[Entity]] = {}
    for entity in entities:
        name = shape_of(entity).name
        if tables.setdefault(name, entity) is not entity:
            raise CannotStart(f"table {name!r} is declared twice: by {tables[name].__qualname__} and {entity.__qualname__}")
    return tables
