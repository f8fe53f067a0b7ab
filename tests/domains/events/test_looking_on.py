"""Looking on at the end of the log: one reading for all, and nobody waits for who is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from fortress import Fortress
from fortress.data import Database
from fortress.errors import Unavailable
from fortress.events.following import FactTail, LoggedFact, Place, tail
from fortress.security import SYSTEM
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from shop.orders.events import OrderPlaced

PAUSE = 0.2


def wanted(_fact: LoggedFact) -> bool:
    return True


@pytest.fixture
def looked_on(running: Fortress) -> FactTail:
    assert running.runtime is not None
    return running.runtime.container.get(FactTail)


@pytest.fixture
def database(running: Fortress) -> Database:
    assert running.runtime is not None
    return running.runtime.container.get(Database)


async def place_orders(database: Database, count: int) -> UUID:
    about = uuid4()
    async with database.unit(SYSTEM) as unit:
        for _ in range(count):
            unit.record(OrderPlaced(order_id=about, buyer_id=about, total=Decimal(1)))
    return about


async def first_of(followed: AsyncIterator[Sequence[LoggedFact]]) -> Sequence[LoggedFact]:
    async with asyncio.timeout(10):
        async for facts in followed:
            if facts:
                return facts
    raise AssertionError("it ended")


async def test_all_who_look_on_are_told_the_same_thing_by_one_reading(looked_on: FactTail, database: Database) -> None:
    followed = [looked_on.follow(uuid4(), None, wanted, PAUSE) for _ in range(20)]
    for _ in range(3):
        assert not any(await asyncio.gather(*(anext(one) for one in followed)))
    with database.counting() as count:
        about = await place_orders(database, 3)
        told = [await first_of(one) for one in followed]
        assert count.round_trips < 20
    assert {fact.aggregate for facts in told for fact in facts} == {about}
    assert all(mine is first for facts in told[1:] for mine, first in zip(facts, told[0], strict=True))
    for one in followed:
        await one.aclose()
    assert len(looked_on) == 0


async def test_nobody_reads_while_nobody_looks_on(looked_on: FactTail, database: Database) -> None:
    async with aclosing(looked_on.follow(uuid4(), None, wanted, PAUSE)) as followed:
        for _ in range(3):
            await anext(followed)
        assert looked_on._wanted.is_set()
    assert not looked_on._wanted.is_set()


async def test_who_does_not_keep_up_is_sent_away_and_nobody_else(
    looked_on: FactTail, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "QUEUE", 5)
    slow, quick = (looked_on.follow(uuid4(), None, wanted, PAUSE) for _ in range(2))
    for one in (slow, quick):
        for _ in range(3):
            await anext(one)
    heard = 0
    for _ in range(3):
        await place_orders(database, 3)
        heard += len(await first_of(quick))
    assert heard == 9
    with pytest.raises(tail.TooSlow):
        await first_of(slow)
    await quick.aclose()


async def test_a_process_takes_so_many_and_no_more(looked_on: FactTail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "PER_PROCESS", 1)
    async with aclosing(looked_on.follow(uuid4(), None, wanted, PAUSE)) as followed:
        await anext(followed)
        with pytest.raises(Unavailable):
            await anext(looked_on.follow(uuid4(), None, wanted, PAUSE))
    await anext(looked_on.follow(uuid4(), None, wanted, PAUSE))


async def test_who_was_far_behind_is_told_all_of_it(looked_on: FactTail, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "BATCH", 3)
    about = await place_orders(database, 10)
    async with aclosing(looked_on.follow(uuid4(), Place(1, 0), lambda fact: fact.aggregate == about, PAUSE)) as followed:
        told: list[LoggedFact] = []
        async with asyncio.timeout(10):
            while len(told) < 10:
                told += await anext(followed)
    assert [fact.place for fact in told] == sorted(fact.place for fact in told)


async def test_a_client_in_the_same_process_sees_the_head_and_leaves(client: Client, callers: Callers, looked_on: FactTail) -> None:
    reply = await client.get("/events/stream", as_=await callers.administrator())
    assert (reply.status, reply.body) == (200, b":\n\n")
    assert len(looked_on) == 0
