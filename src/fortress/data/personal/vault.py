"""Everything that reading and writing personal data takes, of one database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from fortress.clock import Clock, Ids
from fortress.data.bus import Bus
from fortress.data.personal.datakeys import DataKeys, Fetch
from fortress.data.personal.fields import BlindField
from fortress.data.personal.indexkeys import IndexKeys
from fortress.data.personal.rewrapping import Rewrapping
from fortress.errors import CannotStart
from fortress.security.wrapping import WrappedKey, Wrapping

if TYPE_CHECKING:
    from fortress.data.unit import Unit

_SHOWN: Final = 10
_log = structlog.get_logger("fortress.personal")


class NoWrapping:
    """Stands where nothing is to wrap keys: nothing personal can be read or written."""

    current = ""

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        del key, context
        raise _nothing_wraps()

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        del wrapped, context
        raise _nothing_wraps()


class Personal:
    """The keys of people and of blind indexes.

    Args:
        fetch: runs a reading statement.
        run: runs a writing one in a transaction of its own.

    Attributes:
        unreadable: how often something kept could not be read: somebody tampered with the database, or lost its keys.
    """

    def __init__(self, fetch: Fetch, run: Fetch, wrapping: Wrapping, clock: Clock, ids: Ids) -> None:
        self.wrapping = wrapping
        self.data = DataKeys(fetch, wrapping, clock, ids, self.alarm)
        self.indexes = IndexKeys(fetch, run, wrapping, clock, ids, self.alarm)
        self.wrapped = Rewrapping(fetch, run, wrapping)
        self.unreadable = 0

    def __repr__(self) -> str:
        return f"Personal({self.data}, {self.indexes})"

    def follow(self, bus: Bus) -> None:
        """Hear of erasures and rotations within a second."""
        self.data.follow(bus)
        self.indexes.follow(bus)

    async def erase(self, unit: Unit, person: UUID) -> None:
        """Destroy this person's keys with the unit's commit: what is personal of them is unreadable for ever, backups included."""
        await self.data.destroy(unit, person)

    def alarm(self, table: str, rows: Sequence[object]) -> None:
        """Some of these rows, by their ids, could not be read: count it, and say where."""
        self.unreadable += 1
        _log.error("personal.unreadable", table=table, rows=[str(row) for row in rows[:_SHOWN]])

    async def digests(self, blind: dict[str, BlindField], given: dict[str, Any]) -> None:
        """Put in the place of plain values what rows of them are found by."""
        await self.indexes.ready({field.purpose for field in blind.values()})
        for name, field in blind.items():
            value = given.get(name)
            if name in given:
                given[name] = [] if value is None else self.indexes.digests(field, value)


def _nothing_wraps() -> CannotStart:
    return CannotStart("personal data needs keys that wrap others", hint="Database(…, wrapping=RingWrapping(ring))")
