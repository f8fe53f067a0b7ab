"""Repositories against asyncpg's pool: by-id, list-50."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bench import seed
from bench.contest import Contender
from bench.environment import OURS
from bench.rows import Outcome
from bench.run import Measure, Run, figure, microseconds
from bench.statistics import ratios

_OURS: Final = "bench.workloads.fortress_data"
_THEIRS: Final = "bench.workloads.asyncpg_pool"


def take(run: Run) -> Sequence[Outcome]:
    run.say("repositories against asyncpg's pool")
    url = asyncio.run(seed.peers_database(run.database, "bench_data"))
    key, user, *_ = seed.order_rows(seed.user_ids())[0]
    return [
        _against(run, "by-id", "get_by_id", {"url": url, "key": str(key), "user": str(user)}),
        _against(run, "list-50", "list_50", {"url": url, "user": str(user)}),
    ]


def _against(run: Run, row: str, name: str, arguments: dict[str, str | int]) -> Outcome:
    taken = run.contest(
        Contender("ours", OURS, f"{_OURS}:{name}", arguments),
        Contender("asyncpg", OURS, f"{_THEIRS}:{name}", arguments),
    )
    ours, theirs = taken["ours"], taken["asyncpg"]
    return figure(row, ratios(ours, theirs), ours_us=microseconds(ours), asyncpg_us=microseconds(theirs))


MEASURE: Final = Measure(("by-id", "list-50"), take)
