"""New keys for everybody's data: first a second version for each person, then every value sealed by it, then the first is gone.

Meanwhile servers read by both versions and write by the newer one, which they hear of at once. Nothing here is remembered beside
the keys themselves: whoever has two versions is not done yet, so what was ended in the middle is gone on with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fortress.data.bus import message
from fortress.data.entity import Shape
from fortress.data.personal.datakeys import TOPIC, Known
from fortress.data.personal.rewrapping import Step
from fortress.data.personal.scanning import BATCH, Replacement, Scan
from fortress.data.personal.sealedrows import ELSEWHERE, NewerKey, opened_row, row_of, sealed_row
from fortress.data.retry import retrying
from fortress.errors import CannotStart
from fortress.security.principal import SYSTEM
from fortress.security.sealing import HEADER_BYTES
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from fortress.data.database import Database

EVERYBODY: Final = "*"
_NAMED: Final = 3
_BEGUN: Final = """
    SELECT min(newest) FROM (
        SELECT max(created_at) AS newest FROM data_keys GROUP BY subject
        HAVING count(*) > 1 AND bool_and(wrapped IS NOT NULL)) AS unfinished"""
_OLD: Final = """
    SELECT subject, max(version) AS version FROM data_keys WHERE $1::uuid IS NULL OR subject > $1 GROUP BY subject
    HAVING bool_and(wrapped IS NOT NULL) AND max(created_at) < $2 ORDER BY subject LIMIT $3"""
_COUNT_OLD: Final = """
    SELECT count(*) FROM (SELECT 1 FROM data_keys GROUP BY subject
    HAVING bool_and(wrapped IS NOT NULL) AND max(created_at) < $1) AS old"""
# The version before is locked: an erasure at this moment is waited for, and then nothing is added.
_ADD: Final = """
    INSERT INTO data_keys (id, subject, version, key_id, wrapped, created_at)
    SELECT new.* FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bytea[], $6::timestamptz[])
        AS new (id, subject, version, key_id, wrapped, created_at)
    JOIN data_keys AS old ON old.subject = new.subject AND old.version = new.version - 1 AND old.wrapped IS NOT NULL
    FOR UPDATE OF old ON CONFLICT (subject, version) DO NOTHING"""
_TWICE: Final = """
    SELECT subject FROM data_keys WHERE $1::uuid IS NULL OR subject > $1 GROUP BY subject
    HAVING count(*) > 1 AND bool_and(wrapped IS NOT NULL) ORDER BY subject LIMIT $2"""
_COUNT_TWICE: Final = """
    SELECT count(*) FROM (SELECT 1 FROM data_keys GROUP BY subject HAVING count(*) > 1 AND bool_and(wrapped IS NOT NULL)) AS twice"""
_DROP: Final = """
    DELETE FROM data_keys AS d USING (
        SELECT subject, max(version) AS version FROM data_keys WHERE subject = ANY($1) GROUP BY subject) AS latest
    WHERE d.subject = latest.subject AND d.version < latest.version AND d.wrapped IS NOT NULL"""


class Renewing:
    """One renewal of everybody's data keys.

    Args:
        shapes: of the entities that keep personal data.
    """

    def __init__(self, database: Database, shapes: Sequence[Shape]) -> None:
        self._database = database
        self._keys = database.personal.data
        self._scans = [Scan(database, shape, sealed=True) for shape in shapes]

    async def begun(self) -> datetime | None:
        """Since when a renewal is under way that was not finished; None when there is none."""
        row = await self._database.fetchrow(_BEGUN)
        return row[0] if row else None

    async def make(self, before: datetime) -> AsyncIterator[Step]:
        """Another version for everybody whose key is older than `before`; servers seal by it from now on.

        Raises:
            Unavailable: the database or the key service does not answer.
        """
        counted = await self._database.fetchrow(_COUNT_OLD, before)
        done, last = 0, None
        while rows := await self._database.run(_OLD, last, before, BATCH):
            last = rows[-1]["subject"]
            made = [(await self._keys.make(row["subject"], row["version"] + 1))[0] for row in rows]
            await retrying(lambda made=made: self._add(made), None)  # type: ignore[misc]
            done += len(rows)
            yield Step(done, max(done, counted[0] if counted else 0))

    async def reseal(self) -> AsyncIterator[Step]:
        """Seal by everybody's newest version what an older one sealed.

        Raises:
            CannotStart: some values can't be read; all others are done.
            Unavailable: the database or the key service does not answer.
        """
        total = sum([await scan.count() for scan in self._scans])
        done, lost = 0, list[str]()
        for scan in self._scans:
            async for rows in scan.pages():
                behind = [row for row in rows if row["latest"] is not None and any(_older(row, name) for name in scan.sealed)]
                keys = await self._keys.load({row["owner"] for row in behind})
                replaced = [_resealed(scan, row, keys) for row in behind]
                lost += [f"{scan.table} {row['id']}" for row, one in zip(behind, replaced, strict=True) if one is None]
                await scan.replace([one for one in replaced if one is not None])
                done += len(rows)
                yield Step(done, max(done, total))
        if lost:
            named = ", ".join(lost[:_NAMED])
            raise CannotStart(f"{len(lost)} rows can't be read, {named} among them", hint="they were changed, or a key is gone")

    async def drop(self) -> AsyncIterator[Step]:
        """Destroy the older versions that nothing is sealed by any more, and have every server forget them."""
        counted = await self._database.fetchrow(_COUNT_TWICE)
        done, last = 0, None
        unused = "".join(scan.unless_sealed_by("d") for scan in self._scans)
        while rows := await self._database.run(_TWICE, last, BATCH):
            subjects, last = [row["subject"] for row in rows], rows[-1]["subject"]
            await self._database.run(_DROP + unused, subjects)
            done += len(rows)
            yield Step(done, max(done, counted[0] if counted else 0))
        await self._tell([EVERYBODY])

    async def _add(self, made: Sequence[Any]) -> None:
        columns = [[getattr(row, name) for row in made] for name in ("id", "subject", "version", "key_id", "wrapped", "created_at")]
        async with self._database.unit(SYSTEM) as unit:
            await unit.run(_ADD, *columns)
            for row in made:
                unit.notify(message(TOPIC, str(row.subject)))

    async def _tell(self, about: Sequence[str]) -> None:
        async with self._database.unit(SYSTEM) as unit:
            for one in about:
                unit.notify(message(TOPIC, one))


def _older(row: Any, name: str) -> bool:
    sealed = row[name]
    return sealed is not None and sealed != ELSEWHERE and int.from_bytes(sealed[1:HEADER_BYTES], "big") != row["latest"]


def _resealed(scan: Scan, row: Any, keys: Known) -> Replacement | None:
    """The row's values sealed by the newest version; None when one of them can't be read."""
    held = keys.get(row["owner"])
    before = {name: row[name] for name in scan.sealed}
    if held is None or held.latest is None or held.destroyed:
        return Replacement(row["id"], before, before)
    id, stored = row_of(scan.fields, row)
    try:
        after = sealed_row(scan.fields, held.latest, id, opened_row(scan.fields, held, id, stored))
    except (Unreadable, NewerKey):
        return None
    return Replacement(row["id"], before, dict(zip(scan.sealed, after, strict=True)))
