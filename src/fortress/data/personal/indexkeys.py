"""The keys of blind indexes: few, all in memory, read again when they may have changed.

A key is first NEXT, so that every process compares with it before any process indexes by it; then ACTIVE; then RETIRED, until the
last row is indexed anew.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from fortress.clock import Clock, Ids
from fortress.data.bus import Bus, message
from fortress.data.personal.belief import Belief
from fortress.data.personal.datakeys import Alarm, Fetch
from fortress.data.personal.fields import BlindField
from fortress.data.personal.tables import IndexState
from fortress.security.encoding import framed
from fortress.security.keymaterial import KeyMaterial
from fortress.security.sealing import KEY_BYTES, blind_digest
from fortress.security.wrapping import Unreadable, WrappedKey, Wrapping

if TYPE_CHECKING:
    from fortress.data.unit import Unit

TOPIC: Final = "index_keys"
_PURPOSE: Final = b"fortress/index-key/1"
_LOAD: Final = "SELECT purpose, version, state, key_id, wrapped FROM index_keys ORDER BY purpose, version"
_ADD: Final = """
    INSERT INTO index_keys (id, purpose, version, state, key_id, wrapped, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING 1"""
_RETIRE: Final = "UPDATE index_keys SET state = 'retired' WHERE purpose = $1 AND state = 'active'"
_BEGIN_USE: Final = "UPDATE index_keys SET state = 'active' WHERE purpose = $1 AND version = $2 AND state = 'next'"
_DROP: Final = "DELETE FROM index_keys WHERE purpose = $1 AND state = 'retired'"


class IndexKey:
    """One version of the key of one blind index."""

    __slots__ = ("_material", "state", "version")

    def __init__(self, version: int, state: IndexState, material: KeyMaterial) -> None:
        self.version = version
        self.state = state
        self._material = material

    def __repr__(self) -> str:
        return f"IndexKey({self.version}, {self.state.value})"

    def digest(self, value: bytes) -> bytes:
        return blind_digest(self._material.reveal(), value)


class IndexKeys:
    """The keys of every blind index.

    Args:
        fetch: runs a reading statement.
        run: runs a writing one in a transaction of its own.
        wrapping: what the keys are wrapped by.
        alarm: told of what can't be read.
    """

    def __init__(self, fetch: Fetch, run: Fetch, wrapping: Wrapping, clock: Clock, ids: Ids, alarm: Alarm) -> None:
        self._fetch = fetch
        self._run = run
        self._wrapping = wrapping
        self._clock = clock
        self._ids = ids
        self._alarm = alarm
        self._belief = Belief(clock)
        self._known: dict[str, tuple[IndexKey, ...]] = {}
        self._asked = float("-inf")
        self._news = 0
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"IndexKeys({len(self._known)})"

    def follow(self, bus: Bus) -> None:
        """Hear of rotations; until then, and while the bus is silent, the keys are read again and again."""
        bus.on(TOPIC, lambda _: self.doubt())
        bus.on_lost(self.doubt)
        self._belief.trust(bus.certain)

    def doubt(self) -> None:
        """Read the keys again before they are used the next time."""
        self._news += 1
        self._asked = float("-inf")

    async def ready(self, purposes: Collection[str]) -> None:
        """Have the keys of these indexes at hand; the first of an index is made here.

        Raises:
            Unavailable: the database or the key service does not answer.
            Unreadable: a wrapped key was tampered with, or its wrapping key is gone.
        """
        if self._is_ready(purposes):
            return
        async with self._lock:
            if self._is_ready(purposes):
                return
            await self._load()
            absent = [purpose for purpose in purposes if purpose not in self._known]
            for purpose in absent:
                await self._run(_ADD, await self._row(purpose, 1, IndexState.ACTIVE))
            if absent:
                await self._load()

    def digest(self, field: BlindField, value: str | bytes) -> bytes:
        """What a row is indexed by now."""
        active = next(key for key in self._known[field.purpose] if key.state is IndexState.ACTIVE)
        return active.digest(field.normalised(value))

    def digests(self, field: BlindField, value: str | bytes) -> list[bytes]:
        """What a row of this value may be indexed by, oldest first."""
        normalised = field.normalised(value)
        return [key.digest(normalised) for key in self._known[field.purpose]]

    def versions(self, purpose: str) -> tuple[IndexKey, ...]:
        """The keys that count, oldest first."""
        return self._known[purpose]

    async def announce(self, unit: Unit, purpose: str) -> int:
        """Add the next key of an index, which everybody compares with from now on; its version.

        Repeated, it gives the one that was announced already.
        """
        await self.ready((purpose,))
        following = next((key for key in self._known[purpose] if key.state is IndexState.NEXT), None)
        if following is not None:
            return following.version
        version = self._known[purpose][-1].version + 1
        await unit.run(_ADD, *await self._row(purpose, version, IndexState.NEXT))
        self._tell(unit, purpose)
        return version

    async def activate(self, unit: Unit, purpose: str, version: int) -> None:
        """Index by this key, announced some seconds ago, from now on; the one before is only compared with."""
        await unit.run(_RETIRE, purpose)
        await unit.run(_BEGIN_USE, purpose, version)
        self._tell(unit, purpose)

    async def drop_retired(self, unit: Unit, purpose: str) -> None:
        """Forget the keys by which no row is indexed any more."""
        await unit.run(_DROP, purpose)
        self._tell(unit, purpose)

    def _tell(self, unit: Unit, purpose: str) -> None:
        unit.notify(message(TOPIC, purpose))
        unit.after_commit(self.doubt)

    def _is_ready(self, purposes: Collection[str]) -> bool:
        return self._asked >= self._belief.since() and all(purpose in self._known for purpose in purposes)

    async def _load(self) -> None:
        news, asked = self._news, self._belief.now()
        known: dict[str, list[IndexKey]] = {}
        for row in await self._fetch(_LOAD, []):
            known.setdefault(row["purpose"], []).append(await self._opened(row))
        self._known = {purpose: tuple(keys) for purpose, keys in known.items()}
        # What was heard while we asked may be newer than the answer.
        self._asked = asked if news == self._news else float("-inf")

    async def _opened(self, row: Any) -> IndexKey:
        bound = context(row["purpose"], row["version"])
        try:
            key = await self._wrapping.unwrap(WrappedKey(row["key_id"], row["wrapped"]), bound)
        except Unreadable:
            self._alarm("index_keys", [row["purpose"]])
            raise
        return IndexKey(row["version"], IndexState(row["state"]), KeyMaterial(key))

    async def _row(self, purpose: str, version: int, state: IndexState) -> list[Any]:
        wrapped = await self._wrapping.wrap(secrets.token_bytes(KEY_BYTES), context(purpose, version))
        return [self._ids.new(), purpose, version, state, wrapped.key_id, wrapped.blob, self._clock.now()]


def context(purpose: str, version: int) -> bytes:
    """What the wrapped key of an index is bound to."""
    return framed(_PURPOSE, purpose.encode(), version.to_bytes(4, "big"))
