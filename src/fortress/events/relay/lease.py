"""Who may write to a stream, or read from one, just now: one process at a time, by the clock of the database.

A process that was frozen while it held the lease finds it gone when it wakes up: whatever it wants to note down is refused, as
the lease's number has changed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from fortress.events.relay.stream import Position

if TYPE_CHECKING:
    from fortress.data import Database

SECONDS: Final = 6.0
LONGER: Final = timedelta(seconds=SECONDS)
# One statement: whoever comes second waits for the row, sees the lease taken, and gets nothing.
_CLAIM: Final = """
    INSERT INTO broker_leases AS mine (name, holder, number, held_until) VALUES ($1, $2, 1, clock_timestamp() + $3)
    ON CONFLICT (name) DO UPDATE SET holder = $2, held_until = clock_timestamp() + $3,
        number = mine.number + CASE WHEN mine.holder = $2 THEN 0 ELSE 1 END
    WHERE mine.holder IS NULL OR mine.holder = $2 OR mine.held_until < clock_timestamp()
    RETURNING number, tx::text::bigint AS tx, seq, cursor"""
_SENT: Final = """
    UPDATE broker_leases SET tx = $3::bigint::text::xid8, seq = $4, moved_at = clock_timestamp(), held_until = clock_timestamp() + $5
    WHERE name = $1 AND number = $2 RETURNING 1"""
_RELEASE: Final = "UPDATE broker_leases SET holder = NULL WHERE name = $1 AND holder = $2"


class Held(msgspec.Struct, frozen=True):
    """A lease that was got.

    Attributes:
        number: grows with every new holder.
        position: the last fact that is known to be sent; None before the first one.
        cursor: the broker's word for what was read.
    """

    number: int
    position: Position | None
    cursor: str | None


class Lease:
    """One lease, as one process asks for it.

    Args:
        name: of what may be done by one process only.
        holder: this process.
    """

    def __init__(self, database: Database, name: str, holder: UUID) -> None:
        self.name = name
        self._database = database
        self._holder = holder

    async def claim(self) -> Held | None:
        """Get the lease, or keep it, for SECONDS; None while another process has it. Raises Unavailable."""
        row: Any = await self._database.fetchrow(_CLAIM, self.name, self._holder, LONGER)
        if row is None:
            return None
        position = None if row["tx"] is None else Position(row["tx"], row["seq"])
        return Held(row["number"], position, row["cursor"])

    async def sent(self, held: Held, position: Position) -> bool:
        """Note down how far was sent; False when the lease is another's by now. Raises Unavailable."""
        return await self._database.fetchrow(_SENT, self.name, held.number, position.tx, position.seq, LONGER) is not None

    async def release(self) -> None:
        """Let another process have it at once. Raises Unavailable."""
        await self._database.run(_RELEASE, self.name, self._holder)
