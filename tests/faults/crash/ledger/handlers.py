"""What is done after an entry was made."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tests.faults.crash.ledger.models import Effect
from tests.faults.crash.ledger.repository import EffectRepository

from fortress import Clock, Ids
from fortress.data import Database
from fortress.events import backoff, job
from fortress.events.jobs.progress import Once
from fortress.failpoints import Failpoint
from fortress.security import SYSTEM

MENDED: Final = "mended"
AFTER_SETTLING: Final = Failpoint("ledger.after_settling", "What the job does is committed; the queue does not know that it is done.")


@job()
async def settle(account: UUID, number: int, once: Once, database: Database, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """Leave a mark, once."""
    async with database.unit(SYSTEM) as unit:
        if await once(unit):
            await effects.add(unit, Effect(ids.new(), "settle", account, number, clock.now()))
    if AFTER_SETTLING.armed:
        await AFTER_SETTLING.reached()


class Sour(Exception):
    """What nobody has mended fails each time."""


@job(retry=backoff(times=2, first=0.1, factor=1))
async def settle_sour(account: UUID, number: int, database: Database, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """Fail until somebody has mended what it needs."""
    async with database.unit(SYSTEM) as unit:
        if not await effects.of_place(unit, place=MENDED):
            raise Sour
        await effects.add(unit, Effect(ids.new(), "settle_sour", account, number, clock.now()))
