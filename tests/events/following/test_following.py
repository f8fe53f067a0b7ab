"""Subscribers over a real log: each fact once, in the order of the commits, whatever else happens."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.events.following.conftest import Admin, Counted, Effect, record

from fortress.data import Database, Unit
from fortress.events import Event, Retry, on
from fortress.security import SYSTEM

QUICK = Retry(times=2, first=0.001, factor=1.0, longest=0.001)
WAIT = 20.0


async def until(admin: Admin, count: int, sql: str = "SELECT count(*) FROM effects") -> None:
    """Until the query gives this count. Raises TimeoutError."""
    async with asyncio.timeout(WAIT):
        while await admin.fetchval(sql) != count:  # noqa: ASYNC110 - other connections do it; the table can only be asked
            await asyncio.sleep(0.01)


async def copied(fact: Counted, unit: Unit, event: Event) -> None:
    unit.add([Effect(event.id, fact.thing, fact.number)])


async def test_what_is_recorded_is_heard_once(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    await follow(on(Counted, name="t.copy")(copied))
    thing = uuid4()
    await record(database, *(Counted(thing, number) for number in range(3)))
    await until(admin, 3)
    assert [row["number"] for row in await admin.fetch("SELECT number FROM effects ORDER BY place")] == [0, 1, 2]


async def test_none_is_missed_and_none_comes_twice_while_many_write(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    """Two readers share the lanes; eight writers commit late, early and not at all."""
    copy = on(Counted, name="t.copy")(copied)
    await follow(copy)
    await follow(copy)
    things = [uuid4() for _ in range(12)]
    locks, numbers, committed = [asyncio.Lock() for _ in things], [0] * len(things), defaultdict[UUID, list[int]](list)

    async def write(seed: int) -> None:
        chances = random.Random(seed)
        for _ in range(60):
            which = chances.randrange(len(things))
            # One writer at a time for one thing, as a service holds its row: else their order would be nobody's.
            async with locks[which]:
                number = numbers[which] = numbers[which] + 1
                try:
                    async with database.unit(SYSTEM) as unit:
                        unit.record(Counted(things[which], number))
                        await unit.flush()
                        await asyncio.sleep(chances.random() * 0.01)
                        if chances.random() < 0.1:
                            raise LookupError
                except LookupError:
                    continue
                committed[things[which]].append(number)

    await asyncio.gather(*map(write, range(8)))
    await until(admin, sum(map(len, committed.values())))
    seen = defaultdict[UUID, list[int]](list)
    for row in await admin.fetch("SELECT thing, number FROM effects ORDER BY place"):
        seen[row["thing"]].append(row["number"])
    assert seen == committed


async def test_a_poisonous_fact_holds_back_only_its_own_aggregate(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    bad, good, cured = uuid4(), [uuid4() for _ in range(40)], asyncio.Event()

    @on(Counted, name="t.poison", retry=Retry(times=50, first=0.001, factor=1.0, longest=0.001))
    async def copy(fact: Counted, unit: Unit, event: Event) -> None:
        await copied(fact, unit, event)
        if fact.thing == bad and fact.number == 0 and not cured.is_set():
            raise LookupError("secret words")

    await record(database, Counted(uuid4()))
    await follow(copy)
    await record(database, *(Counted(thing) for thing in good[:20]), Counted(bad, 0), *(Counted(thing) for thing in good[20:]))
    await record(database, Counted(bad, 1), Counted(bad, 2), Counted(good[0], 1))
    await until(admin, 41)
    parked = await admin.fetch("SELECT state, error FROM parked_facts ORDER BY tx, seq")
    assert [row["state"] for row in parked] == ["waiting", "behind", "behind"]
    assert parked[0]["error"] == "LookupError"
    cured.set()
    await until(admin, 44)
    rows = await admin.fetch("SELECT number FROM effects WHERE thing = $1 ORDER BY place", bad)
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert await admin.fetchval("SELECT count(*) FROM parked_facts") == 0


async def test_what_always_fails_dies_and_its_aggregate_flows_on(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    thing = uuid4()

    @on(Counted, name="t.dies", retry=QUICK)
    async def copy(fact: Counted, unit: Unit, event: Event) -> None:
        if fact.number == 0:
            raise LookupError
        await copied(fact, unit, event)

    (one,) = (await follow(copy)).all
    await record(database, Counted(thing, 0), Counted(thing, 1))
    await until(admin, 1)
    assert await admin.fetchval("SELECT state FROM parked_facts") == "dead"
    assert (one.follower.failed, one.follower.died) == (3, 1)


@pytest.mark.parametrize("lanes", [1, 3, 8])
async def test_lanes_may_be_cut_anew(lanes: int, database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    first = await follow(on(Counted, name="t.copy", lanes=4)(copied))
    await record(database, *(Counted(uuid4()) for _ in range(50)))
    await until(admin, 50)
    await first.stop()
    await record(database, *(Counted(uuid4()) for _ in range(50)))
    await follow(on(Counted, name="t.copy", lanes=lanes)(copied))
    await until(admin, 100)
    await until(admin, lanes, "SELECT count(*) FROM subscriber_lanes")
    await record(database, *(Counted(uuid4()) for _ in range(50)))
    await until(admin, 150)
    assert await admin.fetchval("SELECT count(DISTINCT id) FROM effects") == 150


async def test_a_new_subscriber_begins_now_or_at_the_start(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    await record(database, Counted(uuid4(), 1))
    await follow(on(Counted, name="t.now")(copied))
    await record(database, Counted(uuid4(), 2))
    await until(admin, 1)
    assert await admin.fetchval("SELECT number FROM effects") == 2
    await follow(on(Counted, name="t.all", from_start=True)(copied))
    await until(admin, 3)
