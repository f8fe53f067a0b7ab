"""The cache in process: a hit by itself (cache-hit), and a cached GET against a constant (cached-get)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.contest import Contender
from bench.environment import OURS
from bench.fortress_server import new_database, settings
from bench.rows import Outcome
from bench.run import Measure, Run, figure, microseconds
from bench.statistics import ratios, summarize

_ROUTES: Final = 30
_CONSTANT: Final = "/bench/constant0"
_KEPT: Final = "/bench/kept/constant"
_PAGE: Final = "/bench/kept/people?limit=50"


def take(run: Run) -> Sequence[Outcome]:
    run.say("answers from memory, by themselves and through the gate")
    environment = settings(run, new_database(run, "bench_cache"))
    taken = run.contest(
        Contender("hit", OURS, "bench.workloads.fortress_cache:cached_page", {}, environment),
        *(
            Contender(path, OURS, "bench.workloads.fortress_gate:guarded", {"routes": _ROUTES, "path": path}, environment)
            for path in (_CONSTANT, _KEPT, _PAGE)
        ),
    )
    constant, kept, page = taken[_CONSTANT], taken[_KEPT], taken[_PAGE]
    hits = summarize([seconds * 1e6 for seconds in taken["hit"]])
    detail = {"constant_us": microseconds(constant), "kept_us": microseconds(kept), "page_of_50_us": microseconds(page)}
    return [figure("cache-hit", hits), figure("cached-get", ratios(kept, constant), **detail)]


MEASURE: Final = Measure(("cache-hit", "cached-get"), take)
