"""A server that is frozen in the middle of its work while another one goes on, and that wakes up later: nothing is done twice.

More than 5 s: the silence of a worker has to be noticed, which takes its heartbeat's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.faults.conftest import Connection
from tests.faults.crash.conftest import LEDGER
from tests.faults.crash.ledger.traces import ACCOUNTS, enter, left, pass_time, read_traces
from tests.faults.harness.serving import ROOT

from fortress.testing.crash import CrashRun
from fortress.testing.crash_traces import compare
from fortress.testing.nursery import Nursery
from fortress.testing.processes import ServerProcess

pytestmark = pytest.mark.faults


async def test_what_was_frozen_does_nothing_twice_when_it_wakes(
    server_process: ServerProcess, owner: Connection, nursery: Nursery, tmp_path: Path
) -> None:
    awake = server_process
    # What it holds in the database while it is frozen, the database takes back.
    options: dict[str, Any] = {"failpoint": "after_effect_before_cursor:pause@hit=3", "idle_transaction_timeout": 1}
    asleep = ServerProcess(awake.database_url, tmp_path, target=LEDGER, directory=ROOT, nursery=nursery, **options)
    try:
        for server in (awake, asleep):
            await asyncio.to_thread(server.start)
        run = CrashRun(awake, enter, aggregates=ACCOUNTS)

        async def freeze() -> None:
            await until(lambda: is_frozen(asleep))
            await pass_time(owner)

        await run.endure(1, freeze)
        await run.settle(partial(left, owner))
        asleep.thaw()
        await run.endure(2, partial(asyncio.to_thread, asleep.wait_for_line, event="jobs.struck_off"))
        await run.settle(partial(left, owner))
    finally:
        asleep.kill9()
    assert compare(run.attempts, await read_traces(owner)) == []


def is_frozen(server: ServerProcess) -> bool:
    children = psutil.Process(server.pid).children(recursive=True)
    return any(child.status() == psutil.STATUS_STOPPED for child in children)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - a process's state, no event
            await asyncio.sleep(0.02)
