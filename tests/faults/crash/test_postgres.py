"""PostgreSQL dies at once under load, with jobs at work, and is started again: nothing is lost, nothing is doubled, all goes on by itself.

More than 5 s: a server of PostgreSQL is started twice, and an empty database migrated.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from tests.faults.crash.conftest import LEDGER
from tests.faults.crash.ledger.traces import ACCOUNTS, enter, left, read_traces
from tests.faults.harness.power import Power
from tests.faults.harness.serving import ROOT

from fortress.testing.crash import CrashRun
from fortress.testing.crash_traces import Outcome, compare
from fortress.testing.nursery import Nursery
from fortress.testing.processes import ServerProcess

pytestmark = pytest.mark.faults


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Power]:
    switch = Power(tmp_path / "postgres")
    yield switch
    switch.off()


@pytest.fixture
def server(power: Power, nursery: Nursery, tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(power.url, tmp_path / "state", target=LEDGER, directory=ROOT, nursery=nursery)
    made.start()
    yield made
    made.kill9()


async def test_a_database_that_dies_under_load_loses_and_doubles_nothing(power: Power, server: ServerProcess) -> None:
    run = CrashRun(server, enter, aggregates=ACCOUNTS)

    def of(outcome: Outcome) -> int:
        return sum(attempt.outcome is outcome for attempt in run.attempts)

    async def cut() -> None:
        await until(lambda: of(Outcome.ACKNOWLEDGED) > 100)
        await power.cut(signal.SIGKILL)
        known = len(run.attempts)
        await until(lambda: len(run.attempts) > known + 20)
        await power.restore()

    await run.endure(1, cut)
    owner = await asyncpg.connect(power.url, timeout=10)
    try:
        await run.settle(partial(left, owner))
        assert compare(run.attempts, await read_traces(owner)) == []
    finally:
        await owner.close(timeout=10)
    assert of(Outcome.UNKNOWN) > 0
    assert server.faults() == []


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - the clients' list, no event
            await asyncio.sleep(0.02)
