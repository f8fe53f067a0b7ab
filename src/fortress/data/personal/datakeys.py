"""People's own keys: loaded and unwrapped many at once, made with the first row that needs one, destroyed for good."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from fortress.clock import Clock, Ids
from fortress.data.bus import Bus, message
from fortress.data.personal.belief import Belief
from fortress.data.personal.cache import KeyCache, SubjectKeys
from fortress.data.personal.tables import DataKeyRow
from fortress.errors import Gone
from fortress.security.encoding import framed
from fortress.security.sealing import KEY_BYTES, ValueCipher
from fortress.security.wrapping import Unreadable, WrappedKey, Wrapping

if TYPE_CHECKING:
    from fortress.data.unit import Unit

TOPIC: Final = "erased"
PEOPLE: Final = 2048
FIRST: Final = 1
_DOUBTED: Final = 1024
_AT_ONCE: Final = 32
_PURPOSE: Final = b"fortress/data-key/1"
_LOAD: Final = "SELECT subject, version, key_id, wrapped FROM data_keys WHERE subject = ANY($1) ORDER BY subject, version"
# What was never there can't be made any more either.
_BURY: Final = """
    INSERT INTO data_keys (id, subject, version, key_id, wrapped, created_at, destroyed_at)
    VALUES ($1, $2, 1, '', NULL, $3, $3) ON CONFLICT (subject, version) DO NOTHING"""
# Locked before they are destroyed: a rotation that adds a version at this moment is waited for, and its key destroyed too.
_LOCK: Final = "SELECT id FROM data_keys WHERE subject = $1 ORDER BY version FOR UPDATE"
_DESTROY: Final = "UPDATE data_keys SET wrapped = NULL, destroyed_at = $2 WHERE subject = $1 AND wrapped IS NOT NULL"

Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
Alarm = Callable[[str, Sequence[object]], None]
Known = dict[UUID, SubjectKeys]


class Erased(Gone):
    """The personal data of somebody was erased: it can't be read, and nothing new may be written about them."""

    code, title = "personal.erased", "This person's data was erased"


class DataKeys:
    """The keys of everybody, one or more versions for each.

    Args:
        fetch: runs a reading statement.
        wrapping: what the keys are wrapped by.
        alarm: told of what can't be read.
        people: how many people's keys are kept ready at most.
    """

    def __init__(self, fetch: Fetch, wrapping: Wrapping, clock: Clock, ids: Ids, alarm: Alarm, *, people: int = PEOPLE) -> None:
        self._fetch = fetch
        self._wrapping = wrapping
        self._clock = clock
        self._ids = ids
        self._alarm = alarm
        self._belief = Belief(clock)
        self._cache = KeyCache(people)
        self._loading: dict[UUID, asyncio.Task[Known]] = {}
        self._doubted: dict[UUID, None] = {}

    def __repr__(self) -> str:
        return f"DataKeys({self._cache})"

    def follow(self, bus: Bus) -> None:
        """Hear of erasures; until then, and while the bus is silent, what is kept is believed for a moment only."""
        bus.on(TOPIC, self._heard)
        bus.on_lost(self.clear)
        self._belief.trust(bus.certain)

    def ready(self, subjects: Iterable[UUID]) -> tuple[Known, list[UUID]]:
        """The keys at hand, and those of whom have to be loaded."""
        return self._cache.some(subjects, self._belief.since())

    def all(self, subjects: Sequence[bytes]) -> list[SubjectKeys] | None:
        """The keys of all of these, by the bytes of their ids and in their order; None when those of one are not at hand."""
        return self._cache.all(subjects, self._belief.since())

    async def load(self, subjects: Iterable[UUID]) -> Known:
        """The keys of these people as the database has them, in one query; people without a key have none.

        Raises:
            Unavailable: the database or the key service does not answer.
            Unreadable: a wrapped key was tampered with, or its wrapping key is gone.
        """
        wanted = dict.fromkeys(subjects)
        alone = [subject for subject in wanted if subject not in self._loading]
        if alone:
            self._begin(alone)
        tasks = dict.fromkeys(self._loading[subject] for subject in wanted)
        found: Known = {}
        for task in tasks:
            # A caller who gives up does not take the others along.
            found |= await asyncio.shield(task)
        return {subject: found[subject] for subject in wanted if subject in found}

    async def make(self, subject: UUID, version: int = FIRST) -> tuple[DataKeyRow, SubjectKeys]:
        """A new key for this person, and the row that keeps it; in force once that row is committed."""
        key = secrets.token_bytes(KEY_BYTES)
        wrapped = await self._wrapping.wrap(key, context(subject, version))
        row = DataKeyRow(self._ids.new(), subject, version, wrapped.key_id, wrapped.blob, self._clock.now(), None)
        return row, SubjectKeys((ValueCipher(key, subject, version),), destroyed=False)

    def keep(self, made: Mapping[UUID, SubjectKeys], stamp: int) -> None:
        """Remember keys that were made and are committed now."""
        now = self._belief.now()
        for subject, keys in made.items():
            self._cache.put(subject, keys, now, stamp)

    def stamp(self) -> int:
        return self._cache.stamp()

    def doubt(self, subjects: Iterable[UUID]) -> None:
        """Making keys for these people failed: they may have some already, so next time they are looked for."""
        for subject in subjects:
            self._doubted[subject] = None
        while len(self._doubted) > _DOUBTED:
            del self._doubted[next(iter(self._doubted))]

    def surely_new(self, subject: UUID) -> bool:
        """Whether somebody whose first row is being added can't have a key yet."""
        return subject not in self._doubted

    async def destroy(self, unit: Unit, subject: UUID) -> None:
        """Make everything personal of this person unreadable, on every process within a second of the commit, in every backup too."""
        now = self._clock.now()
        await unit.run(_BURY, self._ids.new(), subject, now)
        await unit.run(_LOCK, subject)
        await unit.run(_DESTROY, subject, now)
        unit.notify(message(TOPIC, str(subject)))
        unit.after_commit(lambda: self.forget(subject))

    def forget(self, subject: UUID) -> None:
        """Forget this person's keys; a load under way is not shared with who comes later."""
        self._cache.forget(subject)
        self._loading.pop(subject, None)

    def clear(self) -> None:
        """Forget everybody's keys."""
        self._cache.clear()
        self._loading.clear()

    def _heard(self, subject: str) -> None:
        try:
            self.forget(UUID(subject))
        except ValueError:
            self.clear()

    def _begin(self, subjects: list[UUID]) -> None:
        task = asyncio.create_task(self._load(subjects, self._cache.stamp(), self._belief.now()))
        for subject in subjects:
            self._loading[subject] = task
        task.add_done_callback(lambda _: self._ended(task, subjects))

    def _ended(self, task: asyncio.Task[Known], subjects: list[UUID]) -> None:
        for subject in subjects:
            if self._loading.get(subject) is task:
                del self._loading[subject]
        if not task.cancelled():
            # Everybody who waited may have given up; what it raised has then been seen by nobody, which asyncio would complain of.
            task.exception()

    async def _load(self, subjects: list[UUID], stamp: int, asked: float) -> Known:
        rows = await self._fetch(_LOAD, [subjects])
        opened: list[ValueCipher | None] = []
        for first in range(0, len(rows), _AT_ONCE):
            opened += await asyncio.gather(*map(self._opened, rows[first : first + _AT_ONCE]))
        found: Known = {}
        versions: dict[UUID, list[ValueCipher | None]] = {}
        for row, cipher in zip(rows, opened, strict=True):
            versions.setdefault(row["subject"], []).append(cipher)
        for subject, ciphers in versions.items():
            whole = [cipher for cipher in ciphers if cipher is not None]
            found[subject] = SubjectKeys(whole, destroyed=len(whole) < len(ciphers))
            self._cache.put(subject, found[subject], asked, stamp)
        return found

    async def _opened(self, row: Any) -> ValueCipher | None:
        if row["wrapped"] is None:
            return None
        subject, version = row["subject"], row["version"]
        try:
            key = await self._wrapping.unwrap(WrappedKey(row["key_id"], row["wrapped"]), context(subject, version))
        except Unreadable:
            self._alarm("data_keys", [subject])
            raise
        return ValueCipher(key, subject, version)


def context(subject: UUID, version: int) -> bytes:
    """What a person's wrapped key is bound to."""
    return framed(_PURPOSE, subject.bytes, version.to_bytes(4, "big"))
