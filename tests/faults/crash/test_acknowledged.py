"""Killed at each named place and at random moments: what was acknowledged is there, once, in order, and nothing else is.

It must take more than 5 s: each kill takes a server of its own, and a few seeds are few. `make crash` tries 200.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Final

import pytest
from tests.faults.conftest import Connection
from tests.faults.crash.ledger.traces import ACCOUNTS, CARELESS, enter, enter_hastily, left, marks, pass_time, read_traces

from fortress.testing.crash import PATIENCE, CrashRun
from fortress.testing.crash_traces import Finding, Outcome, Trace, Wrong, compare
from fortress.testing.processes import ServerProcess

pytestmark = pytest.mark.faults

PLACES: Final = [
    "before_commit",
    "after_commit_before_wake",
    "after_commit_before_answer",
    "after_effect_before_cursor",
    "ledger.after_settling",
]
FIRST: Final = 30
# So many batches does a subscriber read in a short life, at least.
FIRST_BATCH: Final = 3


async def recovered(run: CrashRun, owner: Connection, seconds: float) -> list[Finding]:
    """What is wrong when everything has been done that was left."""
    await pass_time(owner)
    await run.recover(partial(left, owner), seconds)
    return compare(run.attempts, await read_traces(owner))


async def test_nothing_acknowledged_is_lost(server_process: ServerProcess, owner: Connection, crash_seeds: range) -> None:
    run = CrashRun(server_process, enter, aggregates=ACCOUNTS)
    for seed in crash_seeds:
        for place in PLACES:
            most = FIRST_BATCH if place == "after_effect_before_cursor" else FIRST
            await run.crash(seed, f"{place}:kill@hit={Random(f'{place}{seed}').randint(1, most)}")
        await run.crash(seed)
    assert await recovered(run, owner, PATIENCE * (1 + len(crash_seeds) / 10)) == []
    assert run.fired == len(PLACES) * len(crash_seeds)
    assert {attempt.outcome for attempt in run.attempts} == set(Outcome)


async def test_a_server_that_says_so_too_early_is_found_out(server_process: ServerProcess, owner: Connection) -> None:
    run, wrong = CrashRun(server_process, enter_hastily, aggregates=ACCOUNTS), set[Wrong]()
    # The commit that is hit may be one of the work beside the requests, and then nothing is lost.
    for life in range(1, 9):
        await run.crash(life, f"before_commit:kill@hit={10 + life}")
        facts, *_ = await read_traces(owner)
        wrong = {finding.wrong for finding in compare(run.attempts, [facts])}
        if wrong:
            break
    assert wrong == {Wrong.LOST}


async def test_a_subscriber_that_writes_past_its_unit_is_found_out(server_process: ServerProcess, owner: Connection) -> None:
    run = CrashRun(server_process, enter, aggregates=ACCOUNTS)
    await run.crash(1, "ledger.after_carelessness:kill@hit=3")
    assert await recovered(run, owner, PATIENCE) == [], "those who write through theirs are well"
    found = compare(run.attempts, [Trace("careless", await marks(owner, CARELESS))])
    assert Wrong.DOUBLED in {finding.wrong for finding in found}


async def test_what_is_left_is_not_waited_for_for_ever(server_process: ServerProcess) -> None:
    async def always_one() -> int:
        return 1

    run = CrashRun(server_process, enter, aggregates=ACCOUNTS)
    with pytest.raises(AssertionError, match="1 still wait after"):
        await run.recover(always_one, seconds=0.1)
