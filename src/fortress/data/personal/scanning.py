"""Going through all rows of a table with personal data as they are kept, page by page, and replacing some of their values.

A value is only replaced where the row is still what it was: what somebody changed meanwhile is left alone, and is found again
by the next pass when it needs to be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from fortress.data.entity import Shape
from fortress.data.retry import retrying

if TYPE_CHECKING:
    from fortress.data.database import Database

BATCH: Final = 200


class Replacement(msgspec.Struct, frozen=True):
    """The bytes of some columns of a row, as they are and as they shall be."""

    id: UUID
    before: Mapping[str, bytes | None]
    after: Mapping[str, bytes | None]

    def __repr__(self) -> str:
        return f"Replacement({self.id}, hidden)"


class Scan:
    """One table.

    Args:
        shape: of an entity with personal data.
        sealed: whether sealed values are replaced; else blind indexes are.
    """

    def __init__(self, database: Database, shape: Shape, *, sealed: bool) -> None:
        assert shape.personal is not None, "an entity without personal data"
        self._database = database
        self.table = shape.name
        self.fields = shape.personal
        self.sealed = [field.name for field in self.fields.sealed]
        self.blind = [field.name for field in self.fields.blind]
        self._replaced = self.sealed if sealed else self.blind
        self._key, self._owner = shape.key, shape.fields[self.fields.owner].name

    async def count(self) -> int:
        """How many rows there are."""
        row = await self._database.fetchrow(f'SELECT count(*) FROM "{self.table}"')  # noqa: S608 - our own names
        return int(row[0]) if row else 0

    async def pages(self) -> AsyncIterator[Sequence[Any]]:
        """All rows, by key: id, owner, the newest version of the owner's key (None when erased), sealed values and blind indexes."""
        columns = ", ".join(f'"{name}"' for name in [*self.sealed, *self.blind])
        sql = (
            f'WITH page AS (SELECT "{self._key}" AS id, "{self._owner}" AS owner, {columns} FROM "{self.table}" '  # noqa: S608 - our own names
            f'WHERE $1::uuid IS NULL OR "{self._key}" > $1 ORDER BY "{self._key}" LIMIT {BATCH}) '
            "SELECT page.*, (SELECT CASE WHEN bool_and(d.wrapped IS NOT NULL) THEN max(d.version) END "
            "FROM data_keys d WHERE d.subject = page.owner) AS latest FROM page ORDER BY id"
        )
        last = None
        while rows := await self._database.run(sql, last):
            yield rows
            last = rows[-1]["id"]

    async def replace(self, rows: Sequence[Replacement]) -> int:
        """Put the new values where the old ones still are; how many rows were.

        Raises:
            Unavailable: no answer in time.
        """
        if not rows:
            return 0
        given: list[Any] = [[row.id for row in rows]]
        for name in self._replaced:
            given += [[row.before[name] for row in rows], [row.after[name] for row in rows]]
        return len(await retrying(lambda: self._database.run(self._replacing(), *given), None))

    def _replacing(self) -> str:
        names = self._replaced
        types = ", ".join(f"${number}::bytea[]" for number in range(2, 2 * len(names) + 2))
        columns = ", ".join(f"before{index}, after{index}" for index, _ in enumerate(names))
        changed = ", ".join(f'"{name}" = new.after{index}' for index, name in enumerate(names))
        same = " AND ".join(f'kept."{name}" IS NOT DISTINCT FROM new.before{index}' for index, name in enumerate(names))
        return (
            f'UPDATE "{self.table}" AS kept SET {changed} FROM unnest($1::uuid[], {types}) AS new (id, {columns}) '  # noqa: S608
            f'WHERE kept."{self._key}" = new.id AND {same} RETURNING 1'
        )

    def unless_sealed_by(self, key: str) -> str:
        """A condition: no value of this table is sealed by the version of a data key in the row called `key`."""
        version = f"substring(int8send({key}.version) from 5)"
        sealed = " OR ".join(f'substring(t."{name}" from 2 for 4) = {version}' for name in self.sealed)
        return f' AND NOT EXISTS (SELECT 1 FROM "{self.table}" t WHERE t."{self._owner}" = {key}.subject AND ({sealed}))'  # noqa: S608
