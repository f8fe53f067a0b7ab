"""A handler that always fails, a job or a subscriber: others go on, it is tried again after pauses, is dead in the end, and is replayed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

import pytest
from tests.faults.conftest import Connection
from tests.faults.crash.ledger.traces import ACCOUNTS

from fortress.testing.live import LiveClient
from fortress.testing.processes import ServerProcess

pytestmark = pytest.mark.faults

# Those behind it have its account, those elsewhere another one.
SOUR, BEHIND, ELSEWHERE = 1, range(3, 20, 2), range(2, 20, 2)
SWEET: Final = range(2, 20)
_MEND: Final = (
    "INSERT INTO effects (id, place, account, number, created_at) VALUES (gen_random_uuid(), 'mended', gen_random_uuid(), 0, now())"
)
_NUMBERS: Final = "SELECT number FROM effects WHERE place = $1 ORDER BY position"


async def test_what_always_fails_holds_nobody_up_and_is_replayed(server_process: ServerProcess, owner: Connection) -> None:
    async def done(place: str) -> list[int]:
        return [row["number"] for row in await owner.fetch(_NUMBERS, place)]

    def tried(**who: str) -> list[str]:
        lines = [line for line in server_process.log_lines() if who.items() <= line.items()]
        assert all(line["again_in"] > 0 for line in lines if line["event"].endswith(".failed"))
        return [line["event"] for line in lines]

    await asyncio.to_thread(server_process.start)
    async with LiveClient(server_process.port) as client:
        for number in (SOUR, *SWEET):
            account = ACCOUNTS[number in ELSEWHERE]
            body = {"account": account, "number": number, "sour": number == SOUR}
            assert (await client.post("/entries", body)).status == 201
    for place, expected in (("settle", SWEET), ("tally", [SOUR, *SWEET]), ("taste", SWEET)):
        await until(partial(_same, partial(done, place), expected))
    tasted = await done("taste")
    assert tasted[0] in ELSEWHERE, "the others did not wait for it"
    assert [number for number in tasted if number in BEHIND] == [*BEHIND], "those behind it did, and kept their order"
    await until(lambda: _ended(tried(job="ledger.settle_sour")))
    assert tried(job="ledger.settle_sour") == ["job.failed", "job.failed", "job.dead"]
    assert tried(subscriber="ledger.taste") == ["fact.failed", "fact.failed", "fact.dead"]
    await owner.execute(_MEND)
    for command in (("jobs", "retry", "--dead"), ("events", "replay", "ledger.taste", "--dead")):
        assert (await asyncio.to_thread(server_process.run, *command)).returncode == 0
    await until(partial(_same, partial(done, "settle_sour"), [SOUR]))
    await until(partial(_same, partial(done, "taste"), [SOUR, *SWEET]))


async def _ended(events: list[str]) -> bool:
    return "job.dead" in events


async def _same(found: Callable[[], Awaitable[list[int]]], expected: Iterable[int]) -> bool:
    """Each of them once."""
    return sorted(await found()) == sorted(expected)


async def until(true: Callable[[], Awaitable[object]]) -> None:
    bound = time.monotonic() + 30
    while not await true():
        assert time.monotonic() < bound
        await asyncio.sleep(0.1)
