"""Who a credential was last seen to belong to, so that most requests verify nothing.

Bounded in entries; evicted by session and by user, which is how a revocation takes effect in a process. A load that
began before such an eviction can't be stored after it: take a stamp before the load, and hand it back with the result.
One event loop uses a cache; it is not safe between threads.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from fortress.security.principal import Principal

_REMEMBERED_EVICTIONS: Final = 4096


class CallerCache:
    """Verified callers by the text of their credential; the least recently used leaves first.

    Args:
        capacity: entries held at most. A token's text counts at most 2 KiB, so this bounds the memory.
        remembered: evictions whose subjects are remembered one by one; a load older than these is never stored.
    """

    def __init__(self, capacity: int, remembered: int = _REMEMBERED_EVICTIONS) -> None:
        if capacity < 1 or remembered < 1:
            raise ValueError("a caller cache needs room for at least one entry and one eviction")
        self._capacity = capacity
        self._remembered = remembered
        self._entries: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self._tokens: dict[UUID, set[str]] = {}
        self._evicted: OrderedDict[UUID, int] = OrderedDict()
        self._now = 0
        self._floor = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"CallerCache({len(self._entries)} of {self._capacity})"

    def get(self, token: str, now: float) -> Principal | None:
        """The caller behind `token`, unless unknown, evicted, or expired at `now` (the same scale as `put`'s expires)."""
        entry = self._entries.get(token)
        if entry is None:
            return None
        if now >= entry[1]:
            self._drop(token)
            return None
        self._entries.move_to_end(token)
        return entry[0]

    def stamp(self) -> int:
        """To be taken before a caller is loaded, and handed to `put`."""
        return self._now

    def put(self, token: str, principal: Principal, expires: float, stamp: int) -> bool:
        """Remember a caller until `expires`.

        Returns:
            False, and nothing is remembered, when its user or session was evicted (or might have been) since `stamp`.
        """
        if stamp < self._floor or any(self._evicted.get(subject, 0) > stamp for subject in _subjects(principal)):
            return False
        self._drop(token)
        if len(self._entries) >= self._capacity:
            self._drop(next(iter(self._entries)))
        self._entries[token] = (principal, expires)
        for subject in _subjects(principal):
            self._tokens.setdefault(subject, set()).add(token)
        return True

    def evict_session(self, session: UUID) -> int:
        """Forget everyone who came with this session or API key; how many entries left."""
        return self._evict(session)

    def evict_user(self, user: UUID) -> int:
        """Forget this user, whatever they came with; how many entries left."""
        return self._evict(user)

    def clear(self) -> int:
        """Forget everyone, and refuse every load that is under way; how many entries left."""
        gone = len(self._entries)
        self._entries.clear()
        self._tokens.clear()
        self._evicted.clear()
        self._now += 1
        self._floor = self._now
        return gone

    def _evict(self, subject: UUID) -> int:
        self._now += 1
        self._evicted[subject] = self._now
        self._evicted.move_to_end(subject)
        if len(self._evicted) > self._remembered:
            self._floor = self._evicted.popitem(last=False)[1]
        tokens = tuple(self._tokens.get(subject, ()))
        for token in tokens:
            self._drop(token)
        return len(tokens)

    def _drop(self, token: str) -> None:
        entry = self._entries.pop(token, None)
        if entry is None:
            return
        for subject in _subjects(entry[0]):
            tokens = self._tokens[subject]
            tokens.discard(token)
            if not tokens:
                del self._tokens[subject]


def _subjects(principal: Principal) -> tuple[UUID, ...]:
    session = principal.session
    return (principal.id,) if session is None or session == principal.id else (principal.id, session)
