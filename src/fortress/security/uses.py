"""Which grants people use, noted beside the requests and handed on from time to time: no request waits for it.

What everyone has by default is not noted: least privilege asks of what was given beyond that. A grant is noted once for as
long as a caller is remembered, so that a request with nothing new costs one comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Final, Protocol
from uuid import UUID

import msgspec
import structlog

from fortress.clock import Clock
from fortress.security.permissions import Method, Need, PermissionTable
from fortress.security.principal import Principal

CAPACITY: Final = 20_000
FLUSH_SECONDS: Final = 60.0
_AT_ONCE: Final = 1000
_log = structlog.get_logger("fortress.uses")


class Use(msgspec.Struct, frozen=True):
    """A person used a grant on a day (UTC)."""

    person: UUID
    grant: str
    day: date


class UseKeeper(Protocol):
    """Keeps what was used; the access domain does."""

    async def keep_uses(self, uses: Sequence[Use]) -> None:
        """Remember these; those of people who are not there any more are passed over."""
        ...


class Uses:
    """Notes of one process. One event loop uses it.

    Args:
        capacity: people noted at most between two flushes; more are passed over until then, and noted at their next request.
    """

    def __init__(self, permissions: PermissionTable, clock: Clock, *, capacity: int = CAPACITY) -> None:
        self._permissions = permissions
        self._clock = clock
        self._capacity = capacity
        usual = [role.name for role in permissions.roles.values() if role.by_default]
        self._unusual = ~permissions.grants_of(usual, Method.SYSTEM)
        self._noted: dict[UUID, int] = {}
        self._day = clock.now().date()

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, caller: Principal, need: Need) -> None:
        """A caller was let through by a grant that `need` asks for: the one over everyone's rows, when they hold it."""
        seen = caller.seen
        if seen is None:
            return
        bits = caller.grants & need.anyone or caller.grants & need.mask
        if bits & ~seen.bits:
            self._note(caller, bits)

    async def flush(self, keeper: UseKeeper) -> int:
        """Hand on what was noted; how many uses that were. What the keeper refuses is noted again for the next time."""
        noted, day = self._noted, self._day
        self._noted, self._day = {}, self._clock.now().date()
        uses = [Use(person, name, day) for person, bits in noted.items() for name in self._permissions.names_of(bits)]
        try:
            for start in range(0, len(uses), _AT_ONCE):
                await keeper.keep_uses(uses[start : start + _AT_ONCE])
        except Exception:
            for person, bits in noted.items():
                self._add(person, bits)
            raise
        return len(uses)

    async def keep_flushing(self, keeper: UseKeeper, seconds: float = FLUSH_SECONDS) -> None:
        """Flush again and again, and a last time at the end."""
        try:
            while True:
                await asyncio.sleep(seconds)
                await self._try(keeper)
        finally:
            await self._try(keeper)

    async def _try(self, keeper: UseKeeper) -> None:
        try:
            await self.flush(keeper)
        except Exception as error:
            _log.warning("uses.not_kept", error=type(error).__name__)

    def _note(self, caller: Principal, bits: int) -> None:
        assert caller.seen is not None
        unusual = bits & self._unusual
        if not unusual or self._add(caller.id, unusual):
            caller.seen.bits |= bits

    def _add(self, person: UUID, bits: int) -> bool:
        """Whether there was room."""
        known = self._noted.get(person)
        if known is None and len(self._noted) >= self._capacity:
            return False
        self._noted[person] = bits | (known or 0)
        return True
