"""The gate in process: against a bare FastAPI route (guarded-get), with many routes (routes-1000), and by API key (api-key)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.contest import Contender
from bench.environment import OURS, PEERS, install_python_peers
from bench.fortress_server import new_database, settings
from bench.rows import Outcome
from bench.run import Measure, Run, figure, microseconds
from bench.statistics import ratios

_MANY: Final = 1_000
_FEW: Final = 30
_KEY: Final = "key"


def take(run: Run) -> Sequence[Outcome]:
    run.say("the gate in process, against a bare FastAPI route, with many routes, and by API key")
    install_python_peers()
    environment = settings(run, new_database(run, "bench_gate"))
    taken = run.contest(
        *(
            Contender(str(routes), OURS, "bench.workloads.fortress_gate:guarded_constant", {"routes": routes}, environment)
            for routes in (_FEW, _MANY)
        ),
        Contender(_KEY, OURS, "bench.workloads.fortress_gate:guarded_constant", {"routes": _FEW, "by": _KEY}, environment),
        Contender("fastapi", PEERS, "bench.workloads.bare_fastapi:constant"),
    )
    few, many, fastapi = taken[str(_FEW)], taken[str(_MANY)], taken["fastapi"]
    return [
        figure("guarded-get", ratios(few, fastapi), ours_us=microseconds(few), fastapi_us=microseconds(fastapi)),
        figure("api-key", ratios(taken[_KEY], few), key_us=microseconds(taken[_KEY]), token_us=microseconds(few)),
        figure("routes-1000", ratios(many, few), with_30_us=microseconds(few), with_1000_us=microseconds(many)),
    ]


MEASURE: Final = Measure(("guarded-get", "routes-1000", "api-key"), take)
