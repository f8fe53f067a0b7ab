"""One subscriber at work in one process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.errors import FortressError, Unavailable
from fortress.events.following.handling import Handling, Unhandled
from fortress.events.following.log import FactLog, Lanes, Moved, Place, Rows
from fortress.events.following.parking import Due, Parking
from fortress.events.subscribers import MOST_LANES
from fortress.failpoints import AFTER_EFFECT_BEFORE_CURSOR
from fortress.retry import backoff
from fortress.security.principal import SYSTEM

BATCH: Final = 500
# A busy log is shared: whoever reads a whole batch takes only a part of the lanes next time, so that another process finds some.
SHARES: Final = 4
# So often an error that is not the fact's fault may come before it is taken for one.
PATIENCE: Final = 3
SAID: Final = 500
_PAUSES: Final = backoff(times=64, first=0.05, longest=5.0)
_log = structlog.get_logger("fortress.subscribers")


class Turn(msgspec.Struct, frozen=True):
    """What came of a turn.

    Attributes:
        more: whether there may be more to do at once.
        held: whether there are facts that wait for an older transaction to end.
    """

    more: bool
    held: bool = False


class Tried(msgspec.Struct):
    """What is known of a batch that is under way; it outlives its failure."""

    rows: Rows = ()
    more: bool = False
    held: bool = False
    split: int = 1


class Follower:
    """Follows the log for one subscriber, batch by batch.

    A batch that fails is taken back, and comes again in smaller ones until the fact that fails stands alone; that one is parked.

    Attributes:
        heard: the names of the facts that it hears.
        handled: facts handled since the start.
        failed: tries of a fact that failed.
        died: facts that will not be tried again.
    """

    def __init__(self, log: FactLog, handling: Handling, database: Database, clock: Clock) -> None:
        self.log = log
        self.subscriber = log.subscriber
        self.name = log.subscriber.name
        self.heard = frozenset(log.names)
        self.handled = self.failed = self.died = 0
        self._handling = handling
        self._database = database
        self._clock = clock
        self._parking = Parking(self.name)
        self._most = BATCH
        self._busy = False
        self._doubts = 0
        self._cut = False

    async def turn(self) -> Turn:
        """Handle what comes next. Failures of handlers are kept, not raised.

        Raises:
            Unavailable: the database is away.
        """
        tried = Tried()
        try:
            async with self._database.unit(SYSTEM) as unit:
                await self._batch(unit, tried)
        except Moved:
            return Turn(more=True)
        except Exception as error:
            await self._failed(tried, error)
            return Turn(more=True)
        self.handled += len(tried.rows)
        self._most, self._doubts = min(self._most * 2, BATCH), 0
        return Turn(more=tried.more, held=tried.held)

    async def retry(self) -> bool:
        """Try those parked facts that are due; whether there may be more. Raises Unavailable."""
        found = await self._due()
        tried = [await self._retry_one(one) for one in found]
        return any(tried)

    async def _batch(self, unit: Unit, tried: Tried) -> None:
        share = self._share
        lanes = await self.log.claim(unit, share)
        if lanes is None:
            return
        tried.split, tried.held = lanes.split, lanes.held
        if await self._cut_anew(unit, lanes):
            tried.more = True
            return
        found = await self.log.next(unit, lanes, self._most)
        # Those that were left for others are looked after next time.
        tried.more, self._busy = found.full or share < lanes.split, found.full
        tried.rows = [row for row in found.rows if not row["behind"]]
        await self._handling.handle(unit, tried.rows)
        await unit.flush()
        if AFTER_EFFECT_BEFORE_CURSOR.armed and tried.rows:
            await AFTER_EFFECT_BEFORE_CURSOR.reached()
        await self._parking.queue(unit, [row for row in found.rows if row["behind"]], self._clock.now())
        await self.log.move(unit, lanes, found.reached)

    @property
    def _share(self) -> int:
        """How many lanes to ask for: all, unless there is much to do and they are cut as they should be."""
        return max(1, self.subscriber.lanes // SHARES) if self._busy and self._cut else MOST_LANES

    async def _cut_anew(self, unit: Unit, lanes: Lanes) -> bool:
        """Once, when all lanes stand at one place: cut the work as it is declared now, where it is cut otherwise."""
        if self._cut or lanes.split == self.subscriber.lanes:
            self._cut = True
            return False
        if lanes.whole:
            await self.log.cut_anew(unit, lanes)
            self._cut = True
        return lanes.whole

    async def _failed(self, tried: Tried, error: Exception) -> None:
        """Make the next batch smaller, or park the one fact of this one."""
        cause = error.__cause__ if isinstance(error, Unhandled) and error.__cause__ else error
        if not tried.rows:
            raise error
        if isinstance(cause, Unavailable) and self._doubts < PATIENCE:
            self._doubts += 1
            await asyncio.sleep(_PAUSES.pause(self._doubts) or 0)
        elif len(tried.rows) > 1:
            first = error.index if isinstance(error, Unhandled) else len(tried.rows) // 2
            self._most = max(1, first)
        else:
            await self._park(tried.rows[0], tried.split, cause)

    async def _park(self, row: Any, split: int, error: BaseException) -> None:
        """Put the fact aside, unless somebody else has handled it or put it aside meanwhile."""
        place = Place(row["tx"], row["seq"])
        async with self._database.unit(SYSTEM) as unit:
            lanes = await self.log.claim_of(unit, row["chance"] % split)
            if lanes is None or lanes.split != split or lanes.lowest >= place:
                return
            now = self._clock.now()
            pause = self.subscriber.retry.pause(1)
            await self._parking.park(unit, row, None if pause is None else now + timedelta(seconds=pause), described(error), now)
            await self.log.move(unit, lanes, place)
        self._doubts = 0
        self._tell(row, 1, pause, error)

    async def _due(self) -> list[Due]:
        async with self._database.unit(SYSTEM) as unit:
            return await self._parking.due(unit, self._clock.now())

    async def _retry_one(self, one: Due) -> bool:
        """Try this one again; False when it is somebody else's just now."""
        row: Any = None
        try:
            async with self._database.unit(SYSTEM) as unit:
                row = await self._parked(unit, one)
                if row is None:
                    return False
                await self._handling.handle(unit, [row])
                await self._parking.done(unit, row, self._clock.now())
        except Exception as error:
            if row is None:
                raise
            await self._failed_again(one, error.__cause__ if isinstance(error, Unhandled) and error.__cause__ else error)
        else:
            self.handled += 1
        return True

    async def _parked(self, unit: Unit, one: Due) -> Any | None:
        """The parked fact, while its lane is ours."""
        split = await self.log.split(unit)
        lanes = await self.log.claim_of(unit, one.chance % split) if split else None
        if lanes is None or lanes.split != split:
            return None
        return await self._parking.read(unit, one)

    async def _failed_again(self, one: Due, error: BaseException) -> None:
        async with self._database.unit(SYSTEM) as unit:
            row = await self._parked(unit, one)
            if row is None:
                return
            now, failures = self._clock.now(), row["failures"] + 1
            pause = self.subscriber.retry.pause(failures)
            await self._parking.again(unit, row, None if pause is None else now + timedelta(seconds=pause), described(error), now)
        self._tell(row, failures, pause, error)

    def _tell(self, row: Any, failures: int, pause: float | None, error: BaseException) -> None:
        self.failed += 1
        told = {"subscriber": self.name, "fact": row["name"], "id": str(row["id"]), "failures": failures, "error": type(error).__name__}
        if pause is None:
            self.died += 1
            _log.error("fact.dead", **told, exc_info=error)
        else:
            _log.warning("fact.failed", **told, again_in=round(pause, 3), exc_info=error)


def described(error: BaseException) -> str:
    """What may be kept of an error: its kind, and the words only when they are ours; others' may repeat what is personal."""
    words = str(error) if isinstance(error, FortressError) else ""
    return f"{type(error).__name__}: {words}"[:SAID] if words else type(error).__name__
