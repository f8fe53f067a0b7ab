"""Subscribers over a real log: each fact once, in the order of the commits, whatever else happens."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from tests.events.following.conftest import KINDS, Admin, Counted, Effect, record

from fortress import failpoints
from fortress.data import Database, Unit
from fortress.events import Event, Fact, Retry, on
from fortress.events.following import FactKinds, logs_of
from fortress.events.following.log import NEXT
from fortress.security import SYSTEM

QUICK = Retry(times=2, first=0.001, factor=1.0, longest=0.001)
# Another test's open transaction on the same server holds back what may be read.
pytestmark = pytest.mark.timeout(240)
WAIT = 100.0


class Renamed(Fact, frozen=True):
    version: ClassVar[int] = 3
    thing: UUID
    number: int

    @classmethod
    def upcast(cls, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        if version == 1:
            return {"thing": fields["thing"], "counted": fields["count"]}
        return {"thing": fields["thing"], "number": fields["counted"] * 10}


async def until(admin: Admin, count: int, sql: str = "SELECT count(*) FROM effects") -> None:
    """Until the query gives this count. Raises TimeoutError."""
    async with asyncio.timeout(WAIT):
        while await admin.fetchval(sql) != count:  # noqa: ASYNC110 - other connections do it; the table can only be asked
            await asyncio.sleep(0.01)


async def below_the_horizon(admin: Admin) -> None:
    """Until no transaction of the server, of whatever database, is older than what is committed here."""
    async with asyncio.timeout(WAIT):
        while not await admin.fetchval("SELECT max(tx) < pg_snapshot_xmin(pg_current_snapshot()) FROM events"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


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

    @on(Counted, name="t.poison", retry=Retry(times=50, first=0.5, factor=1.0, longest=0.5))
    async def copy(fact: Counted, unit: Unit, event: Event) -> None:
        await copied(fact, unit, event)
        if fact.thing == bad and fact.number == 0 and not cured.is_set():
            raise LookupError("secret words")

    await record(database, Counted(uuid4()))
    await below_the_horizon(admin)
    await follow(copy)
    await record(database, *(Counted(thing) for thing in good[:20]), Counted(bad, 0), *(Counted(thing) for thing in good[20:]))
    await record(database, Counted(bad, 1), Counted(bad, 2), Counted(good[0], 1))
    await until(admin, 41)
    await until(admin, 3, "SELECT count(*) FROM parked_facts")
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
    await below_the_horizon(admin)
    await follow(on(Counted, name="t.now")(copied))
    await record(database, Counted(uuid4(), 2))
    await until(admin, 1)
    assert await admin.fetchval("SELECT number FROM effects") == 2
    await follow(on(Counted, name="t.all", from_start=True)(copied))
    await until(admin, 3)


async def test_a_failure_between_effect_and_place_leaves_neither(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    failpoints.arm("after_effect_before_cursor:error@hit=1")
    try:
        await follow(on(Counted, name="t.copy")(copied))
        await record(database, *(Counted(uuid4()) for _ in range(5)))
        await until(admin, 5)
    finally:
        failpoints.disarm()
    assert await admin.fetchval("SELECT count(DISTINCT id) FROM effects") == 5


async def test_facts_of_all_months_come_in_the_order_of_their_commits(database: Database, admin: Admin, follow: Callable[..., Any]) -> None:
    """A month that is made while facts are heard, and facts that bear another month's time."""
    await follow(on(Counted, name="t.copy")(copied))
    thing = uuid4()
    await record(database, Counted(thing, 1))
    await until(admin, 1)
    await admin.execute("CREATE TABLE events_2020_01 PARTITION OF events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')")
    try:
        put = (
            "INSERT INTO events (id, at, name, version, aggregate, actor_id, payload) "
            "VALUES ($1, $2, 'Counted', 1, $3, $1, jsonb_build_object('thing', $3::uuid, 'number', $4::int))"
        )
        await admin.execute(put, uuid4(), datetime(2020, 1, 5, tzinfo=UTC), thing, 2)
        await record(database, Counted(thing, 3))
        await until(admin, 3)
    finally:
        await admin.execute("DROP TABLE events_2020_01")
    assert [row["number"] for row in await admin.fetch("SELECT number FROM effects ORDER BY place")] == [1, 2, 3]


async def test_old_versions_are_heard_as_the_present_one(admin: Admin, follow: Callable[..., Any]) -> None:
    @on(Renamed, name="t.renamed")
    async def hear(fact: Renamed, event: Event, unit: Unit) -> None:
        unit.add([Effect(event.id, fact.thing, fact.number + event.version)])

    await follow(hear, kinds=FactKinds([Renamed]))
    put = (
        "INSERT INTO events (id, at, name, version, aggregate, actor_id, payload) "
        "VALUES (gen_random_uuid(), now(), 'Renamed', $1, $2, $2, jsonb_build_object('thing', $2::uuid, $3::text, 7))"
    )
    thing = uuid4()
    for version, field in ((1, "count"), (2, "counted"), (3, "number"), (4, "number")):
        await admin.execute(put, version, thing, field)
    await until(admin, 3)
    assert [row["number"] for row in await admin.fetch("SELECT number FROM effects ORDER BY place")] == [71, 72, 10]
    await until(admin, 1, "SELECT count(*) FROM parked_facts WHERE error LIKE 'NewerFact%'")


async def test_the_next_facts_are_found_by_the_index_however_many_lie_ahead(database: Database, admin: Admin) -> None:
    """Also of a backlog that the planner has not counted yet."""
    put = (
        "INSERT INTO events (id, at, name, version, aggregate, actor_id, payload) "
        "SELECT id, now(), 'Counted', 1, id, id, '{}' FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 5000)) AS one"
    )
    await admin.execute(put)
    await below_the_horizon(admin)
    async with database.unit(SYSTEM) as unit:
        (log,) = logs_of([on(Counted, name="t.plan", from_start=True)(copied)], KINDS)
        await log.register(unit)
        lanes = await log.claim(unit, 2)
        assert lanes is not None
        arguments = ["t.plan", 0, 0, lanes.horizon, ["Counted"], 8, [0, 1], 100]
        plan = "\n".join(row[0] for row in await unit.rows(f"EXPLAIN {NEXT}", arguments))
        assert "Index Scan" in plan
        assert not {"Sort", "Bitmap"} & set(plan.split()), plan
        found = await log.next(unit, lanes, 100)
        assert len(found.rows) == 100
        assert (await unit.rows("SHOW enable_sort", []))[0][0] == "on"
