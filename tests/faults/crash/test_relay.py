"""Two services and a broker between them: both are killed at the relay's named places, and each fact arrives once, in order.

More than 5 s: both are started anew for each kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg
import pytest
from tests.faults.conftest import Connection
from tests.faults.crash.ledger.traces import ACCOUNTS, FACTS, enter, marks, pass_time
from tests.faults.harness.serving import ROOT

from fortress.testing.crash import CrashRun
from fortress.testing.crash_traces import Trace, compare
from fortress.testing.databases import Databases
from fortress.testing.nursery import Nursery
from fortress.testing.processes import ServerProcess
from fortress.testing.servers import NATS_URL

pytestmark = pytest.mark.faults

HEARING: Final = "tests.faults.crash.ledger.hearing:app"
# One for each seed, in turn.
SENDING: Final = ("after_publish_before_mark", "before_publish", "before_commit")


@pytest.fixture
async def there(databases: Databases) -> AsyncIterator[Connection]:
    """The owner's connection to the other service's database."""
    async with databases.clone() as url:
        connection = await asyncpg.connect(url, timeout=10)
        yield connection
        await connection.close(timeout=10)


@pytest.fixture
async def receiver(there: Connection, databases: Databases, stream: str, nursery: Nursery, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    url = databases.url(await there.fetchval("SELECT current_database()"))
    heard: dict[str, Any] = {"broker_url": NATS_URL, "broker_stream": f"{stream}_there", "broker_hear": stream}
    server = ServerProcess(url, tmp_path / "there", target=HEARING, directory=ROOT, nursery=nursery, **heard)
    yield server
    server.kill9()


async def test_each_fact_arrives_once_and_in_order_whoever_is_killed(
    server_process: ServerProcess, owner: Connection, receiver: ServerProcess, there: Connection, stream: str, crash_seeds: range
) -> None:
    async def left() -> int:
        return len(set(await marks(owner, FACTS)) - set(await marks(there, FACTS)))

    server_process.settings |= {"broker_url": NATS_URL, "broker_stream": stream}
    await asyncio.to_thread(receiver.start)
    receiver.kill9()
    run = CrashRun(server_process, enter, aggregates=ACCOUNTS)
    for seed in crash_seeds:
        hits = Random(seed)
        for connection in (owner, there):
            await pass_time(connection)
        receiver.settings["failpoint"] = f"after_effect_before_ack:kill@hit={hits.randint(1, 3)}"
        await asyncio.to_thread(receiver.start)
        await run.crash(seed, f"{SENDING[seed % len(SENDING)]}:kill@hit={1 + seed % 2}")
        receiver.kill9()
    receiver.settings["failpoint"] = ""
    for connection in (owner, there):
        await pass_time(connection)
    await asyncio.to_thread(receiver.start)
    await run.recover(left)
    traces = [Trace(name, await marks(connection, FACTS)) for name, connection in (("told", owner), ("heard", there))]
    assert compare(run.attempts, traces) == []
    assert run.fired > 0
