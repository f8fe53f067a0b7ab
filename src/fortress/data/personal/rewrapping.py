"""Wrapping anew what is kept wrapped, batch by batch, while servers go on reading and writing.

What was changed or destroyed meanwhile is left as it is: a key is only replaced by itself under another wrapping key, and
somebody's erasure is never undone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fortress.data.personal import datakeys, indexkeys
from fortress.data.personal.datakeys import Fetch
from fortress.errors import CannotStart
from fortress.security.wrapping import Unreadable, WrappedKey, Wrapping

BATCH: Final = 200
_AT_ONCE: Final = 32
_NAMED: Final = 3
_USES: Final = """
    SELECT key_id, count(*) AS keys FROM data_keys WHERE wrapped IS NOT NULL GROUP BY key_id
    UNION ALL SELECT key_id, count(*) FROM index_keys GROUP BY key_id"""


class Step(msgspec.Struct, frozen=True):
    """How much is done."""

    done: int
    total: int


class _Kind(msgspec.Struct, frozen=True):
    """One table of wrapped keys: whose key a row is, what it is bound to, and how it is read and written."""

    table: str
    owner: str
    context: Callable[[Any, int], bytes]

    @property
    def behind(self) -> str:
        return (
            f"SELECT id, {self.owner} AS owner, version, key_id, wrapped FROM {self.table} "  # noqa: S608 - our own names
            "WHERE wrapped IS NOT NULL AND key_id <> $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3"
        )

    @property
    def replace(self) -> str:
        return (
            f"UPDATE {self.table} AS kept SET key_id = new.key_id, wrapped = new.wrapped "  # noqa: S608 - our own names
            "FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::bytea[]) AS new (id, before, key_id, wrapped) "
            "WHERE kept.id = new.id AND kept.wrapped = new.before RETURNING 1"
        )


_KINDS: Final = (_Kind("data_keys", "subject", datakeys.context), _Kind("index_keys", "purpose", indexkeys.context))


class Rewrapping:
    """Every key that is kept wrapped.

    Args:
        fetch: runs a reading statement.
        run: runs a writing one in a transaction of its own.
        wrapping: what wraps now, and unwraps what was wrapped before.
    """

    def __init__(self, fetch: Fetch, run: Fetch, wrapping: Wrapping) -> None:
        self._fetch = fetch
        self._run = run
        self._wrapping = wrapping

    async def uses(self) -> Mapping[str, int]:
        """How many keys each wrapping key wraps, by the wrapping key's id; destroyed ones don't count."""
        counted: Counter[str] = Counter()
        for row in await self._fetch(_USES, []):
            counted[row["key_id"]] += row["keys"]
        return counted

    async def rewrap(self) -> AsyncIterator[Step]:
        """Wrap by the current key what another one wraps; may be ended at any step and begun again.

        Raises:
            CannotStart: some keys can't be unwrapped; all others are wrapped anew.
            Unavailable: the database or the key service does not answer.
        """
        current = self._wrapping.current
        total = sum(count for id, count in (await self.uses()).items() if id != current)
        done, lost = 0, list[str]()
        for kind in _KINDS:
            async for rows in self._behind(kind, current):
                replaced = await self._anew(kind, rows)
                lost += [f"{kind.table} {row['id']}" for row, wrapped in zip(rows, replaced, strict=True) if wrapped is None]
                done += await self._replace(kind, rows, replaced)
                yield Step(done, max(done, total))
        if lost:
            named = ", ".join(lost[:_NAMED])
            raise CannotStart(
                f"{len(lost)} wrapped keys can't be read, {named} among them", hint="tampered with, or their wrapping key is gone"
            )

    async def _behind(self, kind: _Kind, current: str) -> AsyncIterator[Sequence[Any]]:
        last = None
        while rows := await self._fetch(kind.behind, [current, last, BATCH]):
            yield rows
            last = rows[-1]["id"]

    async def _anew(self, kind: _Kind, rows: Sequence[Any]) -> list[WrappedKey | None]:
        """The rows' keys under the current key; None for what can't be read."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(row: Any) -> WrappedKey | None:
            bound = kind.context(row["owner"], row["version"])
            async with slots:
                try:
                    return await self._wrapping.wrap(await self._wrapping.unwrap(WrappedKey(row["key_id"], row["wrapped"]), bound), bound)
                except Unreadable:
                    return None

        return list(await asyncio.gather(*map(one, rows)))

    async def _replace(self, kind: _Kind, rows: Sequence[Any], replaced: Sequence[WrappedKey | None]) -> int:
        pairs = [(row, wrapped) for row, wrapped in zip(rows, replaced, strict=True) if wrapped is not None]
        if not pairs:
            return 0
        ids, before = [row["id"] for row, _ in pairs], [row["wrapped"] for row, _ in pairs]
        return len(
            await self._run(kind.replace, [ids, before, [wrapped.key_id for _, wrapped in pairs], [wrapped.blob for _, wrapped in pairs]])
        )
