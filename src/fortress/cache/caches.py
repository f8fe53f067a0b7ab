"""Every cached query and method of a project, in one process: where their answers are, and who tells them of changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from fortress.cache.memory import Memory
from fortress.cache.methods import CachedMethod
from fortress.cache.plan import Plan
from fortress.cache.queries import CachedQuery
from fortress.cache.shelf import Shelf
from fortress.data.bus import Bus
from fortress.data.changes import TOPIC, News, read_news
from fortress.data.entity import Entity, shape_of
from fortress.data.sources import changed_with
from fortress.errors import CannotStart

_REMEMBERED: Final = 1000


class Declared(msgspec.Struct, frozen=True):
    """What a project keeps.

    Attributes:
        queries, methods: with their plans.
        tables: whose changes must be told.
    """

    queries: dict[CachedQuery, Plan]
    methods: dict[CachedMethod[Any, Any, Any], Plan]
    tables: frozenset[str]


def declared(classes: Iterable[type[Any]], entities: Iterable[type[Entity]]) -> Declared:
    """The cached queries and methods of these classes.

    Args:
        classes: repositories and services.
        entities: of the project; a removed row of one may take others' rows along.

    Raises:
        CannotStart: what one of them answers may not be kept, or two of them have one name.
    """
    queries: dict[CachedQuery, Plan] = {}
    methods: dict[CachedMethod[Any, Any, Any], Plan] = {}
    behind = {shape_of(entity).name: tuple(changed_with(entity)) for entity in entities}
    for cls in classes:
        for item in _cached_in(cls):
            if isinstance(item, CachedQuery):
                queries[item] = _whole(item.plan, behind)
            else:
                methods[item] = _whole(item.plan(), behind)
    plans = [*queries.values(), *methods.values()]
    names = [plan.name for plan in plans]
    for name in names:
        if names.count(name) > 1:
            raise CannotStart(f"two cached queries or methods are called {name}", hint="rename a class")
    return Declared(queries, methods, frozenset(table for plan in plans for table in plan.tables))


class Caches:
    """The shelves of one process.

    Args:
        declared: what is kept; shelves are empty and closed until `follow`.
    """

    def __init__(self, declared: Declared, memory: Memory) -> None:
        self._declared = declared
        self._memory = memory
        self._done: dict[str, None] = {}
        for plan in (*declared.queries.values(), *declared.methods.values()):
            memory.shelf(plan)

    @property
    def shelves(self) -> Iterable[Shelf]:
        return self._memory.shelves.values()

    def adopt(self, service: object) -> None:
        """Keep what this service's cached methods answer."""
        for item in _cached_in(type(service)):
            if isinstance(item, CachedMethod):
                item.keep(service, self._memory.shelves[item.name])

    def follow(self, bus: Bus) -> dict[CachedQuery, Shelf]:
        """Begin to keep answers, for as long as news of changes arrives; the queries' shelves."""
        bus.on(TOPIC, lambda rest: self.heard(read_news(rest)))
        bus.on_lost(self.doubt)
        self._memory.certain_until = bus.certain_until
        for shelf in self.shelves:
            shelf.open = True
        return {query: self._memory.shelves[plan.name] for query, plan in self._declared.queries.items()}

    def heard(self, news: News) -> None:
        """Rows have changed. What this process has told itself at its commit is not heard a second time."""
        if news.id in self._done:
            return
        self._done[news.id] = None
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]
        if self._memory.shared is not None:
            self._memory.shared.heard(news)
        for shelf in self.shelves:
            for table, rows in news.rows.items():
                if table in shelf.plan.tables:
                    shelf.forget(rows if table == shelf.plan.row_table else None)

    def doubt(self) -> None:
        """News may have been missed."""
        self._memory.sure_until = float("-inf")
        if self._memory.shared is not None:
            self._memory.shared.doubt()
        for shelf in self.shelves:
            shelf.forget(None)


def _cached_in(cls: type[Any]) -> Iterator[CachedQuery | CachedMethod[Any, Any, Any]]:
    seen: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        seen |= vars(base)
    for item in seen.values():
        if isinstance(item, (CachedQuery, CachedMethod)):
            yield item


def _whole(plan: Plan, behind: Mapping[str, Iterable[str]]) -> Plan:
    """The plan with the tables whose removed rows take rows of its own along, through however many others."""
    tables, waiting = set(plan.tables), list(plan.tables)
    while waiting:
        more = set(behind.get(waiting.pop(), ())) - tables
        tables |= more
        waiting += more
    return msgspec.structs.replace(plan, tables=frozenset(tables))
