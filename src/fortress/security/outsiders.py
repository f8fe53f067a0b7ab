"""Keys that are used from where they must not be: written down beside the request, and seldom enough to fill no log."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from fortress.background import Background
from fortress.clock import Clock
from fortress.security.directory import CallerDirectory
from fortress.security.principal import Principal

EVERY_SECONDS: Final = 3600.0
CAPACITY: Final = 1000


class Outsiders:
    """Has each such key noted once an hour by each process. One event loop uses it.

    Args:
        capacity: keys remembered as noted; when more are misused within the hour, the oldest may be noted again.
    """

    def __init__(self, directory: CallerDirectory, background: Background, clock: Clock, *, capacity: int = CAPACITY) -> None:
        self._directory = directory
        self._background = background
        self._clock = clock
        self._capacity = capacity
        self._noted: OrderedDict[UUID, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, caller: Principal) -> None:
        """This caller's key came from an address that is not in its list."""
        key, now = caller.session or caller.id, self._clock.monotonic()
        last = self._noted.get(key)
        if last is not None and now < last + EVERY_SECONDS:
            return
        self._noted[key] = now
        self._noted.move_to_end(key)
        if len(self._noted) > self._capacity:
            self._noted.popitem(last=False)
        self._background.start(self._directory.key_refused(caller.id, key))
