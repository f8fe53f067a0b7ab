"""Turning over the keys that guard data: what is done in which order, so that servers go on meanwhile and a kill does no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from fortress.clock import Clock
from fortress.commands.progress import Done, followed
from fortress.errors import CannotStart
from fortress.security.keys import LOOK_SECONDS, KeyRing
from fortress.security.wrapping import RING, Wrapping

Wait = Callable[[float], Awaitable[None]]

# A rotation that is younger and not finished is gone on with: whoever was killed gives the same command again.
UNFINISHED: Final = timedelta(days=1)
# In which every server has heard what changed, or reads it again because it may have missed it.
NEWS_SECONDS: Final = 3.0
_SPARE_SECONDS: Final = 1.0
_PASSES: Final = 3


class WrappedKeys(Protocol):
    """Every key that is kept wrapped."""

    async def uses(self) -> Mapping[str, int]:
        """How many keys each wrapping key wraps, by the wrapping key's id."""
        ...

    def rewrap(self) -> AsyncIterator[Done]:
        """Wrap by the current key what another one wraps, batch by batch."""
        ...


class DataKeysAnew(Protocol):
    """Everybody's data keys, and what they seal."""

    async def begun(self) -> datetime | None:
        """Since when a renewal is under way that was not finished."""
        ...

    def make(self, before: datetime) -> AsyncIterator[Done]:
        """Another key for everybody whose key is older."""
        ...

    def reseal(self) -> AsyncIterator[Done]:
        """Everything sealed by the newest keys."""
        ...

    def drop(self) -> AsyncIterator[Done]:
        """The older keys destroyed."""
        ...


class IndexKeysAnew(Protocol):
    """The keys of the blind indexes, and what they index."""

    async def announce(self) -> bool:
        """Have servers compare with the next keys; False when rows are being indexed by them already."""
        ...

    async def activate(self) -> bool:
        """Have servers index by the announced keys."""
        ...

    def reindex(self) -> AsyncIterator[Done]:
        """Every row indexed by the active keys."""
        ...

    async def drop(self) -> int:
        """The older keys forgotten; how many there were."""
        ...


class Rewrapped(msgspec.Struct, frozen=True):
    """What a rotation of the wrapping keys did.

    Attributes:
        key: what wraps now.
        resumed: an earlier rotation was gone on with.
        rewrapped: keys that were wrapped anew.
        destroyed: ids of ring keys that are gone for ever.
        unused: ids that nothing is wrapped by any more, and that may be destroyed.
    """

    key: str
    resumed: bool
    rewrapped: int
    destroyed: tuple[str, ...]
    unused: tuple[str, ...]


class Renewed(msgspec.Struct, frozen=True):
    """What a renewal of the data keys did.

    Attributes:
        resumed: an earlier renewal was gone on with.
        people: who has a new key.
        rows: what was gone through.
    """

    resumed: bool
    people: int
    rows: int


class Reindexed(msgspec.Struct, frozen=True):
    """What a renewal of the index keys did.

    Attributes:
        resumed: an earlier renewal was gone on with.
        indexes: how many have a new key.
        rows: what was gone through.
    """

    resumed: bool
    indexes: int
    rows: int


class WrappingRotation:
    """One rotation of the keys that wrap others.

    Args:
        ring: holds wrapping keys, whether they wrap or not.
        wrapping: what wraps.
        keys: what is wrapped.
        holding: seconds for which a server may go on with what it has read or begun; a request's longest time.
        wait: waits that many seconds.
    """

    def __init__(self, ring: KeyRing, wrapping: Wrapping, keys: WrappedKeys, clock: Clock, *, holding: float, wait: Wait) -> None:
        self._ring = ring
        self._wrapping = wrapping
        self._keys = keys
        self._clock = clock
        self._grace = timedelta(seconds=LOOK_SECONDS + holding + _SPARE_SECONDS)
        self._wait = wait

    async def run(self, *, destroy_old: bool) -> Rewrapped:
        """Make a new key where the ring wraps, wrap everything by it, and destroy the old ones if that is asked for.

        Raises:
            CannotStart: the ring can't be written, or something can't be wrapped anew.
        """
        resumed = await self._unfinished(destroy_old)
        if not resumed and (self._ring_wraps() or destroy_old):
            self._ring.rotate_wrapping()
        rewrapped = await followed("wrapping keys anew", self._keys.rewrap())
        destroyed: list[str] = []
        if destroy_old:
            more, destroyed = await self._destroy()
            rewrapped += more
        unused = [id for id in self._retired() if not (await self._keys.uses()).get(f"{RING}:{id}")]
        return Rewrapped(self._wrapping.current, resumed, rewrapped, tuple(destroyed), tuple(unused))

    async def _unfinished(self, destroy_old: bool) -> bool:  # noqa: FBT001 - says what the caller was asked for
        begun = self._ring.wrapping_keys()[0].begun
        if begun is None or self._clock.now() - begun > UNFINISHED or not self._retired():
            return False
        behind = [id for id, count in (await self._keys.uses()).items() if count and id != self._wrapping.current]
        return bool(behind) or destroy_old

    async def _destroy(self) -> tuple[int, list[str]]:
        """Wait until no server holds what the old keys wrapped, look again, and destroy them."""
        records = [record for record in self._ring.wrapping_keys() if record.retired is not None]
        if not records:
            return 0, []
        since = self._clock.now() - max(record.retired for record in records if record.retired)
        if since < self._grace:
            await self._wait((self._grace - since).total_seconds())
        more = 0
        for _ in range(_PASSES):
            more += await followed("wrapping what came late", self._keys.rewrap())
            uses = await self._keys.uses()
            if not any(uses.get(f"{RING}:{record.id}") for record in records):
                return more, self._ring.destroy_wrapping([record.id for record in records])
        raise CannotStart("something is still wrapped by old keys, so none was destroyed", hint="fortress keys status")

    def _retired(self) -> list[str]:
        return [record.id for record in self._ring.wrapping_keys() if record.retired is not None]

    def _ring_wraps(self) -> bool:
        return self._wrapping.current.startswith(f"{RING}:")


async def renew_data_keys(keys: DataKeysAnew, clock: Clock, *, holding: float, wait: Wait) -> Renewed:
    """A new key for everybody's data, everything sealed by it, the old keys destroyed.

    `holding` is for how many seconds a server may go on with what it has begun.

    Raises:
        CannotStart: something can't be read; the old keys of that stay.
    """
    begun = await keys.begun()
    await followed("making keys", keys.make(begun or clock.now()))
    rows = await followed("encrypting anew", keys.reseal())
    await wait(holding + NEWS_SECONDS)
    await followed("looking for what came late", keys.reseal())
    people = await followed("destroying the old keys", keys.drop())
    return Renewed(begun is not None, people, rows)


async def renew_index_keys(keys: IndexKeysAnew, *, holding: float, wait: Wait) -> Reindexed:
    """A new key for each blind index, every row indexed by it, the old keys forgotten. Arguments and errors as `renew_data_keys`."""
    announced = await keys.announce()
    if announced:
        await wait(holding + NEWS_SECONDS)
        await keys.activate()
    # Whoever began before may still index by the old key; what was killed here begins to wait again.
    await wait(holding + NEWS_SECONDS)
    rows = await followed("indexing anew", keys.reindex())
    return Reindexed(not announced, await keys.drop(), rows)
