"""A server's life: how long it takes to start (start), how much memory it holds after work (memory)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from bench.competitors import ours
from bench.database import STATE
from bench.environment import OURS, ROOT
from bench.http_load import HttpRequest, drive
from bench.machine import MEASURED_CORE, OTHER_CORE
from bench.rows import Outcome
from bench.run import Measure, Run, figure
from bench.servers import Server
from bench.statistics import summarize

_STARTS: Final = 5
_REQUESTS: Final = 10_000
_MEGABYTE: Final = 1_000_000


def take_start(run: Run) -> Sequence[Outcome]:
    """`fortress serve` of the shop, as `make serve` runs it, after a first start has made database, schema and demo data."""
    run.say("start to first 200")
    _start(run)
    return [figure("start", summarize([_start(run) for _ in range(_STARTS)]), server="embedded, stopped before each start")]


def _start(run: Run) -> float:
    environment = {"FORTRESS_STATE_DIR": str(ROOT / STATE / "start"), "PYTHONPATH": "src:examples", "FORTRESS_DATABASE_URL": ""}
    command = [str(OURS), "-m", "fortress.main", "serve", "shop.app:app", "--port", "{port}"]
    cores = (MEASURED_CORE, OTHER_CORE)
    server = Server("start", command, log=run.log("start"), environment=environment, ready="/health/ready", cores=cores)
    began = time.perf_counter()
    with server:
        return time.perf_counter() - began


def take_memory(run: Run) -> Sequence[Outcome]:
    """The worker's resident set after reads, pages, orders, lists, unknown paths and refused callers."""
    run.say("memory after 10,000 mixed requests")
    with ours(run, "memory") as competitor:
        server, done = competitor.server, 0
        while done < _REQUESTS:
            done += drive(server.url, _mixed(competitor.requests), run.seconds).requests
        sizes = sorted(process.memory_info().rss / _MEGABYTE for process in server.processes())
    worker = sizes[-1]
    return [figure("memory", summarize([worker]), requests=done, all_processes_mb=round(sum(sizes)))]


def _mixed(requests: Mapping[str, Sequence[HttpRequest]]) -> list[HttpRequest]:
    """Eight reads of ten, among them lists anyone may see; one order; and what goes wrong."""
    wrong = [HttpRequest("GET", "/nowhere", {}), HttpRequest("GET", "/api/v2/orders", {}), HttpRequest("POST", "/api/v2/orders", {}, "{}")]
    mixed: list[HttpRequest] = []
    for number, read in enumerate(requests["read"]):
        page, order = (requests[name][number % len(requests[name])] for name in ("page", "order"))
        products = HttpRequest("GET", "/api/v2/products", {})
        mixed += [read, read, read, read, page, page, products, products, order, wrong[number % len(wrong)]]
    return mixed


START: Final = Measure(("start",), take_start)
MEMORY: Final = Measure(("memory",), take_memory)
