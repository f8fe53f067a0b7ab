"""People's keys, ready for use, for a short time.

Bounded in people; forgotten one by one when somebody is erased. A load that began before that can't be stored after it: take a
stamp before the load, and hand it back with the result. One event loop uses a cache; it is not safe between threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from fortress.security.sealing import ValueCipher

_REMEMBERED: Final = 4096


class SubjectKeys:
    """Every version of one person's key.

    Args:
        ciphers: oldest first; the last one seals.
        destroyed: the keys are gone, and nothing of this person may be written.
    """

    __slots__ = ("by_header", "destroyed", "latest")

    def __init__(self, ciphers: Iterable[ValueCipher], *, destroyed: bool) -> None:
        known = tuple(ciphers)
        self.by_header = {header: cipher for cipher in known for header in (cipher.header, cipher.together)}
        self.latest: ValueCipher | None = known[-1] if known else None
        self.destroyed = destroyed

    def __repr__(self) -> str:
        return f"SubjectKeys({len(self.by_header) // 2}, destroyed={self.destroyed})"


NOBODY: Final = SubjectKeys((), destroyed=False)
"""The keys of somebody who has none."""


class KeyCache:
    """Keys by person; the least recently used leave first.

    Args:
        capacity: people held at most.
        remembered: people who were forgotten, remembered one by one; a load that is older than these is never stored.
    """

    def __init__(self, capacity: int, remembered: int = _REMEMBERED) -> None:
        if capacity < 1 or remembered < 1:
            raise ValueError("a key cache needs room for at least one person")
        self._capacity = capacity
        self._remembered = remembered
        self._entries: OrderedDict[bytes, tuple[SubjectKeys, float]] = OrderedDict()
        self._forgotten: OrderedDict[UUID, int] = OrderedDict()
        self._now = 0
        self._floor = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"KeyCache({len(self._entries)} of {self._capacity})"

    def get(self, subject: UUID, since: float) -> SubjectKeys | None:
        """This person's keys, if they were asked for no earlier than `since`."""
        return self.some((subject,), since)[0].get(subject)

    def some(self, subjects: Iterable[UUID], since: float) -> tuple[dict[UUID, SubjectKeys], list[UUID]]:
        """The keys of those that `get` would give, and who the others are."""
        entries, use = self._entries, self._entries.move_to_end
        found: dict[UUID, SubjectKeys] = {}
        missing = []
        for subject in subjects:
            entry = entries.get(subject.bytes)
            if entry is None or entry[1] < since:
                missing.append(subject)
            else:
                use(subject.bytes)
                found[subject] = entry[0]
        return found, missing

    def all(self, subjects: Sequence[bytes], since: float) -> list[SubjectKeys] | None:
        """The keys of all of these, by the bytes of their ids and in their order; None when those of one are not here."""
        # By bytes: a driver's UUID takes ten times as long to hash. Whoever is on a page of many is not thereby kept for longer.
        found = list(map(self._entries.get, subjects))
        if None in found:
            return None
        keys, asked = zip(*found, strict=True)
        return list(keys) if min(asked) >= since else None

    def stamp(self) -> int:
        """To be taken before keys are loaded, and handed to `put`."""
        return self._now

    def put(self, subject: UUID, keys: SubjectKeys, asked: float, stamp: int) -> bool:
        """Remember keys that were asked for at `asked`.

        Returns:
            False, and nothing is remembered, when this person was forgotten (or might have been) since `stamp`.
        """
        if stamp < self._floor or self._forgotten.get(subject, 0) > stamp:
            return False
        self._entries[subject.bytes] = (keys, asked)
        self._entries.move_to_end(subject.bytes)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return True

    def forget(self, subject: UUID) -> None:
        """Forget this person, and refuse a load that is under way."""
        self._now += 1
        self._forgotten[subject] = self._now
        self._forgotten.move_to_end(subject)
        if len(self._forgotten) > self._remembered:
            self._floor = self._forgotten.popitem(last=False)[1]
        self._entries.pop(subject.bytes, None)

    def clear(self) -> None:
        """Forget everyone, and refuse every load that is under way."""
        self._entries.clear()
        self._forgotten.clear()
        self._now += 1
        self._floor = self._now
