"""What is done after an entry was made."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tests.faults.crash.ledger.events import EntryMade
from tests.faults.crash.ledger.models import Effect
from tests.faults.crash.ledger.repository import EffectRepository

from fortress import Clock, Ids
from fortress.data import Database, Unit
from fortress.events import backoff, job, on
from fortress.events.jobs.progress import Once
from fortress.failpoints import Failpoint
from fortress.security import SYSTEM

MENDED: Final = "mended"
AFTER_CARELESSNESS: Final = Failpoint("ledger.after_carelessness", "The careless note is committed; the place in the log is not moved.")
AFTER_SETTLING: Final = Failpoint("ledger.after_settling", "What the job does is committed; the queue does not know that it is done.")


class Sour(Exception):
    """What nobody has mended fails each time."""


@on(EntryMade)
async def tally(fact: EntryMade, unit: Unit, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """Leave a mark."""
    await effects.add(unit, Effect(ids.new(), "tally", fact.account, fact.number, clock.now()))


@on(EntryMade, retry=backoff(times=2, first=1, factor=1))
async def taste(fact: EntryMade, unit: Unit, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """Leave a mark, but not of what is sour. Raises Sour."""
    if fact.sour and not await effects.of_place(unit, place=MENDED):
        raise Sour
    await effects.add(unit, Effect(ids.new(), "taste", fact.account, fact.number, clock.now()))


@on(EntryMade)
async def note_carelessly(fact: EntryMade, database: Database, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """What nobody should do: write past the unit that the place in the log belongs to. A crash test must find it."""
    async with database.unit(SYSTEM) as unit:
        await effects.add(unit, Effect(ids.new(), "careless", fact.account, fact.number, clock.now()))
    if AFTER_CARELESSNESS.armed:
        await AFTER_CARELESSNESS.reached()


@job()
async def settle(account: UUID, number: int, once: Once, database: Database, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """Leave a mark, once."""
    async with database.unit(SYSTEM) as unit:
        if await once(unit):
            await effects.add(unit, Effect(ids.new(), "settle", account, number, clock.now()))
    if AFTER_SETTLING.armed:
        await AFTER_SETTLING.reached()


@job(retry=backoff(times=2, first=0.1, factor=1))
async def settle_sour(account: UUID, number: int, database: Database, effects: EffectRepository, clock: Clock, ids: Ids) -> None:
    """Fail until somebody has mended what it needs."""
    async with database.unit(SYSTEM) as unit:
        if not await effects.of_place(unit, place=MENDED):
            raise Sour
        await effects.add(unit, Effect(ids.new(), "settle_sour", account, number, clock.now()))
