"""A handler that always fails: others go on, it is tried again after pauses, it is dead in the end, and it can be replayed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.faults.conftest import Connection
from tests.faults.crash.ledger.traces import ACCOUNTS

from fortress.testing.live import LiveClient
from fortress.testing.processes import ServerProcess

pytestmark = pytest.mark.faults

SOUR, SWEET = 1, range(2, 20)
_MEND = "INSERT INTO effects (id, place, account, number, created_at) VALUES (gen_random_uuid(), 'mended', gen_random_uuid(), 0, now())"
_NUMBERS = "SELECT number FROM effects WHERE place = $1 ORDER BY position"


async def test_a_job_that_always_fails_holds_nobody_up_and_is_replayed(server_process: ServerProcess, owner: Connection) -> None:
    async def done(place: str) -> list[int]:
        return [row["number"] for row in await owner.fetch(_NUMBERS, place)]

    async def dead() -> list[dict[str, Any]]:
        listed = await asyncio.to_thread(server_process.run, "jobs", "list", "--status", "dead", "--json")
        assert listed.returncode == 0, listed.stderr
        return list(json.loads(listed.stdout))

    await asyncio.to_thread(server_process.start)
    async with LiveClient(server_process.port) as client:
        for number in (SOUR, *SWEET):
            body = {"account": ACCOUNTS[0], "number": number, "sour": number == SOUR}
            assert (await client.post("/entries", body)).status == 201
    await until(lambda: _same(done("settle"), set(SWEET)))
    await until(dead)
    (died,) = await dead()
    assert (died["name"], died["attempts"], died["error"]) == ("ledger.settle_sour", 3, "Sour")
    tried = [line for line in server_process.log_lines() if line.get("job") == "ledger.settle_sour"]
    assert [line["event"] for line in tried] == ["job.failed", "job.failed", "job.dead"]
    assert all(line["again_in"] > 0 for line in tried[:2])
    await owner.execute(_MEND)
    assert (await asyncio.to_thread(server_process.run, "jobs", "retry", "--dead")).returncode == 0
    await until(lambda: _same(done("settle_sour"), {SOUR}))
    assert await dead() == []


async def _same(found: Awaitable[list[int]], expected: set[int]) -> bool:
    """Each of them once."""
    return sorted(await found) == sorted(expected)


async def until(true: Callable[[], Awaitable[object]]) -> None:
    bound = time.monotonic() + 30
    while not await true():
        assert time.monotonic() < bound
        await asyncio.sleep(0.1)
