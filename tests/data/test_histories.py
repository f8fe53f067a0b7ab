"""What many units do side by side, judged by the history checker: SERIALIZABLE is serializable, and the checker sees what less is not."""

from __future__ import annotations

import asyncio
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.data.things import ME

from fortress.data import Contended, Database, Isolation, Unit
from fortress.testing.crash_histories import Anomaly, Append, Read, Transaction, anomalies
from fortress.testing.crash_traces import Outcome

KEYS: Final = "xyz"
CLIENTS: Final = 4
EACH: Final = 40
_READ: Final = "SELECT values FROM lists WHERE key = $1"
_APPEND: Final = "UPDATE lists SET values = values || $2::bigint WHERE key = $1"

if TYPE_CHECKING:
    Admin = Any


@pytest.fixture(autouse=True)
async def lists(admin: Admin) -> None:
    await admin.execute("CREATE TABLE lists (key text PRIMARY KEY, values bigint[] NOT NULL)")
    await admin.executemany("INSERT INTO lists VALUES ($1, '{}')", [(key,) for key in KEYS])


class Client:
    """Does transactions one after another, and keeps what it saw."""

    def __init__(self, database: Database, ticks: count[int], values: count[int]) -> None:
        self.history: list[Transaction] = []
        self._database = database
        self._ticks = ticks
        self._values = values

    async def work(self, chances: Random, isolation: Isolation) -> None:
        for _ in range(EACH):
            steps = list[Append | Read]()
            began, outcome = next(self._ticks), Outcome.ACKNOWLEDGED
            try:
                async with self._database.unit(ME, isolation=isolation) as unit:
                    for _ in range(chances.randint(1, 3)):
                        steps.append(await self._step(unit, chances))
            except Contended:
                outcome = Outcome.REFUSED
            self.history.append(Transaction(steps, began, next(self._ticks), outcome))

    async def _step(self, unit: Unit, chances: Random) -> Append | Read:
        key = chances.choice(KEYS)
        if chances.random() < 0.5:
            return await read(unit, key)
        return await append(unit, key, next(self._values))


async def read(unit: Unit, key: str) -> Read:
    return Read(key, tuple((await unit.run(_READ, key))[0]["values"]))


async def append(unit: Unit, key: str, value: int) -> Append:
    await unit.run(_APPEND, key, value)
    return Append(key, value)


async def test_units_that_ask_for_it_are_strictly_serializable(database: Database) -> None:
    ticks, values = count(1), count(1)
    clients = [Client(database, ticks, values) for _ in range(CLIENTS)]
    await asyncio.gather(*(one.work(Random(seed), Isolation.SERIALIZABLE) for seed, one in enumerate(clients)))
    history = [transaction for one in clients for transaction in one.history]
    assert anomalies(history) == []
    kinds = {transaction.outcome for transaction in history}
    assert kinds == {Outcome.ACKNOWLEDGED, Outcome.REFUSED}, "they were in each other's way, or this shows nothing"


@pytest.mark.parametrize(
    ("isolation", "found"), [(Isolation.REPEATABLE_READ, [Anomaly.ANTI_DEPENDENCY_CYCLE]), (Isolation.SERIALIZABLE, [])]
)
async def test_a_write_skew_is_seen_where_the_database_lets_it_through(
    database: Database, isolation: Isolation, found: list[Anomaly]
) -> None:
    """Each reads what the other one changes, and neither sees it."""

    async def skewed(reads: str, appends: str, value: int) -> Transaction:
        began, outcome = next(ticks), Outcome.ACKNOWLEDGED
        steps = list[Append | Read]()
        try:
            async with database.unit(ME, isolation=isolation) as unit:
                steps.append(await read(unit, reads))
                await both.wait()
                steps.append(await append(unit, appends, value))
                await both.wait()
        except Contended:
            outcome = Outcome.REFUSED
        return Transaction(steps, began, next(ticks), outcome)

    ticks, both = count(1), asyncio.Barrier(2)
    history = await asyncio.gather(skewed("x", "y", 1), skewed("y", "x", 2))
    assert [one.anomaly for one in anomalies(history)] == found
    refused = sum(one.outcome is Outcome.REFUSED for one in history)
    assert refused == (isolation is Isolation.SERIALIZABLE)
