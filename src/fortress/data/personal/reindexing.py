"""New keys for the blind indexes: announced, so that every server compares with them; then used; then every row indexed by them.

The states of the keys say how far it is, so what was ended in the middle is gone on with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from fortress.data.entity import Shape
from fortress.data.personal.cache import NOBODY
from fortress.data.personal.datakeys import Erased, Known
from fortress.data.personal.indexkeys import IndexKey
from fortress.data.personal.rewrapping import Step
from fortress.data.personal.scanning import Replacement, Scan
from fortress.data.personal.sealedrows import NewerKey, opened_row, row_of
from fortress.data.personal.tables import IndexState
from fortress.data.refusals import DatabaseFault
from fortress.errors import CannotStart, Conflict
from fortress.security.principal import SYSTEM
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from fortress.data.database import Database

_NAMED: Final = 3
_UNFINISHED: Final = "SELECT DISTINCT purpose FROM index_keys WHERE state <> 'active' ORDER BY purpose"


class Reindexing:
    """One renewal of the keys of all blind indexes.

    Args:
        shapes: of the entities that keep personal data.
    """

    def __init__(self, database: Database, shapes: Sequence[Shape]) -> None:
        self._database = database
        self._keys = database.personal.data
        self._indexes = database.personal.indexes
        self._scans = [Scan(database, shape, sealed=False) for shape in shapes if shape.personal and shape.personal.blind]
        self.purposes = [field.purpose for scan in self._scans for field in scan.fields.blind]

    async def unfinished(self) -> list[str]:
        """The indexes whose renewal was begun and not finished."""
        return [row["purpose"] for row in await self._database.run(_UNFINISHED)]

    async def announce(self) -> bool:
        """Have a next key for each index, unless its rows are being indexed already; True: something was announced or waits to be used.

        Raises:
            Unavailable: the database or the key service does not answer.
        """
        following = False
        for purpose in self.purposes:
            if IndexState.RETIRED in await self._states(purpose):
                continue
            async with self._database.unit(SYSTEM) as unit:
                await self._indexes.announce(unit, purpose)
            following = True
        return following

    async def activate(self) -> bool:
        """Index by the announced keys from now on; every server must know them. True: some were."""
        begun = False
        for purpose in self.purposes:
            waiting = [key for key in await self._versions(purpose) if key.state is IndexState.NEXT]
            for key in waiting:
                async with self._database.unit(SYSTEM) as unit:
                    await self._indexes.activate(unit, purpose, key.version)
                begun = True
        return begun

    async def reindex(self) -> AsyncIterator[Step]:
        """Index every row by the active key; no server may index by the one before any more.

        Raises:
            CannotStart: some rows can't be read or would be found twice; all others are done.
            Unavailable: the database or the key service does not answer.
        """
        total = sum([await scan.count() for scan in self._scans])
        done, lost = 0, list[str]()
        for scan in self._scans:
            async for rows in scan.pages():
                lost += await self._page(scan, [row for row in rows if row["latest"] is not None])
                done += len(rows)
                yield Step(done, max(done, total))
        if lost:
            named = ", ".join(lost[:_NAMED])
            raise CannotStart(f"{len(lost)} rows can't be indexed, {named} among them", hint="they were changed, or stand there twice")

    async def drop(self) -> int:
        """Forget the keys by which no row is indexed any more; how many indexes had one."""
        dropped = 0
        for purpose in self.purposes:
            if IndexState.RETIRED in await self._states(purpose):
                async with self._database.unit(SYSTEM) as unit:
                    await self._indexes.drop_retired(unit, purpose)
                dropped += 1
        return dropped

    async def _states(self, purpose: str) -> set[IndexState]:
        return {key.state for key in await self._versions(purpose)}

    async def _versions(self, purpose: str) -> Sequence[IndexKey]:
        self._indexes.doubt()
        await self._indexes.ready([purpose])
        return self._indexes.versions(purpose)

    async def _page(self, scan: Scan, rows: Sequence[Any]) -> list[str]:
        """Index these rows; what can't be is named."""
        await self._indexes.ready(self.purposes)
        keys, missing = self._keys.ready({row["owner"] for row in rows})
        keys |= await self._keys.load(missing)
        lost, changed = list[str](), list[Replacement]()
        for row in rows:
            try:
                after = self._indexed(scan, row, keys)
            except Unreadable:
                lost.append(f"{scan.table} {row['id']}")
                continue
            before = {name: row[name] for name in scan.blind}
            if after != before:
                changed.append(Replacement(row["id"], before, after))
        return lost + await self._replace(scan, changed)

    async def _replace(self, scan: Scan, changed: Sequence[Replacement]) -> list[str]:
        try:
            await scan.replace(changed)
        except (Conflict, DatabaseFault):
            if len(changed) == 1:
                return [f"{scan.table} {changed[0].id}"]
            # One of them is there twice under the new key; the others shall not wait for it.
            return [name for one in changed for name in await self._replace(scan, [one])]
        return []

    def _indexed(self, scan: Scan, row: Any, keys: Known) -> dict[str, bytes | None]:
        id, stored = row_of(scan.fields, row)
        try:
            values = opened_row(scan.fields, keys.get(row["owner"], NOBODY), id, stored)
        except (NewerKey, Erased):
            raise Unreadable from None
        plain = {field.index: value for field, value in zip(scan.fields.sealed, values, strict=True)}
        return {
            blind.name: None if plain[blind.source] is None else self._indexes.digest(blind, plain[blind.source])
            for blind in scan.fields.blind
        }
