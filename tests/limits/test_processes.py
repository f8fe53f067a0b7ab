"""Four processes, one store: together they admit what one would."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

import fortress

HAMMER = Path(__file__).with_name("hammer.py")
SOURCES = Path(fortress.__path__[0]).parent
PROCESSES = 4
AT_ONCE = 20
KEYS = 5


async def _start(*arguments: str) -> Process:
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    return await asyncio.create_subprocess_exec(sys.executable, str(HAMMER), *arguments, stdin=PIPE, stdout=PIPE, env=environment)


async def _result(process: Process) -> dict[str, Any]:
    output, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(output)
    return result


async def _hammer(url: str, quota: int, calls: int) -> list[dict[str, Any]]:
    run = secrets.token_hex(4)
    processes = [await _start(url, run, str(quota), str(KEYS), str(calls)) for _ in range(PROCESSES)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        return await asyncio.gather(*(_result(process) for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


class Suite:
    @pytest.mark.timeout(150)
    @pytest.mark.parametrize(("quota", "calls"), [(100, 20), (1000, 150)])
    async def test_processes_together_admit_exactly_the_limit(self, store_url: str, quota: int, calls: int) -> None:
        results = await _hammer(store_url, quota, calls)
        elapsed = max(result["ended"] for result in results) - min(result["began"] for result in results)
        came_back = int(elapsed * quota / 60)
        totals = [
            sum(number for result in results for key, number in result["admitted"].items() if key.endswith(f"-{n}")) for n in range(KEYS)
        ]
        assert not any("fallbacks" in result or "errors" in result for result in results)
        assert PROCESSES * AT_ONCE * calls / KEYS > 2 * quota
        for total in totals:
            assert quota * 0.95 <= total <= quota + came_back


class TestOverPostgres(Suite):
    @pytest.fixture
    def store_url(self, limits_database: str) -> str:
        return limits_database


class TestOverRedis(Suite):
    @pytest.fixture
    def store_url(self, redis_url: str) -> str:
        return redis_url
