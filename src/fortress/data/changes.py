"""Which rows a commit changed, told to every process by that same commit.

Only changes of tables that somebody asked about are told; where nobody asked, a unit of work pays one look at an empty set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Ids, SystemClock, TimeOrderedIds
from fortress.data.bus import MAX_PAYLOAD, message
from fortress.data.entity import Entity, Shape, shape_of

TOPIC: Final = "rows"
MOST_ROWS: Final = 100
# A table's name has at most 63 bytes.
_TABLES: Final = 100

Rows = Mapping[str, tuple[UUID, ...] | None]


class News(msgspec.Struct, frozen=True, array_like=True):
    """Rows that one commit changed.

    Attributes:
        id: the same in every process.
        rows: their keys by table; None: any of the table's rows.
    """

    id: str
    rows: dict[str, tuple[UUID, ...] | None]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(News).decode


def read_news(rest: str) -> News:
    """What was told under TOPIC.

    Raises:
        msgspec.MsgspecError: it is something else.
    """
    return _decode(rest)


class Audience:
    """Who hears of changed rows.

    Args:
        tables: whose changes are told.
        told: called in the process that made the changes, as soon as it knows of the commit.
        ids: the news' ids.
    """

    __slots__ = ("_ids", "tables", "told")

    def __init__(self, tables: Iterable[str], told: Callable[[News], object], ids: Ids) -> None:
        self.tables = frozenset(tables)
        self.told = told
        self._ids = ids

    def news(self, changes: Changes) -> list[News]:
        """What to tell of these changes, in parts that a notification holds."""
        rows = changes.rows
        if not rows:
            return []
        whole = News(self._ids.new().hex, rows)
        if len(_encode(whole)) < MAX_PAYLOAD - len(TOPIC):
            return [whole]
        names = list(rows)
        parts = (names[start : start + _TABLES] for start in range(0, len(names), _TABLES))
        return [News(self._ids.new().hex, dict.fromkeys(part)) for part in parts]


class Changes:
    """The rows that one unit has changed so far, of the tables that somebody asked about."""

    __slots__ = ("_rows", "_tables")

    def __init__(self, tables: frozenset[str]) -> None:
        self._tables = tables
        self._rows: dict[str, set[UUID] | None] = {}

    @property
    def rows(self) -> dict[str, tuple[UUID, ...] | None]:
        return {table: None if keys is None else tuple(keys) for table, keys in self._rows.items()}

    def added(self, rows: Iterable[Entity]) -> None:
        """These rows are new."""
        for row in rows if self._tables else ():
            shape = shape_of(type(row))
            if shape.name in self._tables:
                self._one(shape.name, getattr(row, shape.key))

    def changed(self, shapes: Iterable[Shape], key: UUID | None) -> None:
        """Rows of these entities were changed: the one with this key, or any."""
        for shape in shapes:
            if shape.name in self._tables:
                self._one(shape.name, key)

    def _one(self, table: str, key: UUID | None) -> None:
        known = self._rows.setdefault(table, set())
        if known is None or key in known:
            return
        if key is None or len(known) >= MOST_ROWS:
            self._rows[table] = None
        else:
            known.add(key)


def notices(news: Iterable[News]) -> Iterator[str]:
    """The notifications that tell it."""
    for one in news:
        yield message(TOPIC, _encode(one).decode())


NOBODY: Final = Audience((), lambda _news: None, TimeOrderedIds(SystemClock()))
