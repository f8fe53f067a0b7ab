"""What is noted of who uses what: once, bounded, and never lost to a refusal of whoever keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from fortress.clock import FixedClock
from fortress.security import ANONYMOUS, Method, Permission, PermissionTable, Principal, Role
from fortress.security.principal import Seen
from fortress.security.uses import Use, Uses

READ = Permission("things:read", "See things", reach=True)
LIST = Permission("things:list", "List things")
TABLE = PermissionTable([READ, LIST], [Role("usual", "Usual", [READ.own], by_default=True), Role("clerk", "Serves", [READ, LIST])])
READING, LISTING = TABLE.need(READ), TABLE.need(LIST)


class Kept:
    """Keeps uses; refuses while it is told to."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.calls = 0
        self.refuses = False
        self.asked = asyncio.Event()

    async def keep_uses(self, uses: Sequence[Use]) -> None:
        self.calls += 1
        self.asked.set()
        if self.refuses:
            raise ConnectionError
        self.uses += uses


def caller(number: int = 1, *roles: str, seen: Seen | None = None) -> Principal:
    return Principal(UUID(int=number), Method.SESSION, TABLE.grants_of(roles or ["clerk"], Method.SESSION), seen=seen or Seen())


@pytest.fixture
def uses(clock: FixedClock) -> Uses:
    return Uses(TABLE, clock, capacity=3)


async def test_a_use_is_noted_once_and_handed_on_with_its_day(uses: Uses, clock: FixedClock) -> None:
    kept, ann = Kept(), caller()
    for _ in range(3):
        uses.note(ann, READING)
        uses.note(ann, LISTING)
    assert await uses.flush(kept) == 2
    today = clock.now().date()
    assert kept.uses == [Use(ann.id, "things:list", today), Use(ann.id, "things:read.any", today)]
    uses.note(ann, READING)
    assert await uses.flush(kept) == 0
    # Remembered anew, as after ten minutes.
    uses.note(caller(), READING)
    assert await uses.flush(kept) == 1


async def test_nothing_is_handed_on_when_nothing_was_used(uses: Uses) -> None:
    kept = Kept()
    assert await uses.flush(kept) == 0
    assert kept.calls == 0


async def test_what_everyone_has_is_not_noted(uses: Uses) -> None:
    ann = caller(1, "usual")
    uses.note(ann, READING)
    assert len(uses) == 0
    assert ann.seen is not None
    assert ann.seen.bits, "asked once, not again"


async def test_nobody_and_who_is_not_remembered_leave_no_note(uses: Uses) -> None:
    uses.note(ANONYMOUS, READING)
    uses.note(Principal(UUID(int=1), Method.SESSION, LISTING.mask), LISTING)
    assert len(uses) == 0


async def test_more_people_than_there_is_room_for_are_noted_later(uses: Uses) -> None:
    kept = Kept()
    everyone = [caller(number) for number in range(1, 6)]
    for one in everyone:
        uses.note(one, LISTING)
    assert len(uses) == 3
    await uses.flush(kept)
    for one in everyone:
        uses.note(one, LISTING)
    await uses.flush(kept)
    assert {use.person.int for use in kept.uses} == {1, 2, 3, 4, 5}
    assert len(kept.uses) == 5


async def test_what_was_refused_is_handed_on_the_next_time(uses: Uses) -> None:
    kept = Kept()
    kept.refuses = True
    uses.note(caller(), LISTING)
    with pytest.raises(ConnectionError):
        await uses.flush(kept)
    kept.refuses = False
    assert await uses.flush(kept) == 1


async def test_a_note_made_while_others_are_handed_on_is_kept_for_the_next_time(uses: Uses) -> None:
    class Slow(Kept):
        async def keep_uses(self, uses_: Sequence[Use]) -> None:
            uses.note(caller(2), LISTING)
            await super().keep_uses(uses_)

    kept = Slow()
    uses.note(caller(1), LISTING)
    assert await uses.flush(kept) == 1
    assert await uses.flush(Kept()) == 1


async def test_a_day_later_it_is_another_day(uses: Uses, clock: FixedClock) -> None:
    kept = Kept()
    uses.note(caller(), LISTING)
    await uses.flush(kept)
    clock.advance(timedelta(days=1))
    await uses.flush(kept)
    uses.note(caller(), LISTING)
    await uses.flush(kept)
    assert kept.uses[1].day - kept.uses[0].day == timedelta(days=1)


async def test_the_last_notes_are_handed_on_at_the_end_and_a_refusal_ends_nothing(uses: Uses) -> None:
    kept = Kept()
    kept.refuses = True
    uses.note(caller(), LISTING)
    flushing = asyncio.create_task(uses.keep_flushing(kept, seconds=0))
    async with asyncio.timeout(5):
        await kept.asked.wait()
    kept.refuses = False
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    assert [use.grant for use in kept.uses] == ["things:list"]
