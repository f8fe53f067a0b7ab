"""`python -m bench`: measures, prints the table, writes the JSON; exit code 1 when a row falls short of its bar."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from bench.database import server
from bench.machine import facts
from bench.measures import accounts, cache, data, events, export, gate, http, jobs, life, orders, personal, relay, trips
from bench.rows import FACTS, FOUNDATION, IDENTITY, ROWS, Outcome
from bench.run import Measure, Run
from bench.table import falls_short, report, show

MEASURES: Final = (
    gate.MEASURE,
    cache.MEASURE,
    data.MEASURE,
    personal.MEASURE,
    trips.MEASURE,
    life.START,
    life.MEMORY,
    http.MEASURE,
    accounts.MEASURE,
    jobs.MEASURE,
    events.MEASURE,
    orders.MEASURE,
    relay.MEASURE,
    export.MEASURE,
)
RESULTS: Final = Path(__file__).parent / "results"


def main(
    *,
    only: Annotated[list[str] | None, typer.Option(help="a row's key; may be repeated")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="rounds of each contest in process")] = 15,
    seconds: Annotated[int, typer.Option(min=1, help="seconds of HTTP load per server and round")] = 3,
    full: Annotated[bool, typer.Option("--full", help="twice the rounds, three times the load")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of the table")] = False,
    issue: Annotated[list[int] | None, typer.Option(help="issues whose rows decide the exit code")] = None,
) -> None:
    """Compare Fortress with what people would pick instead, on this machine."""
    console = Console(stderr=as_json)
    issues = issue or [FOUNDATION, IDENTITY, FACTS]
    chosen = _chosen(only)
    if shutil.which("wrk") is None:
        console.print("wrk not found (apt install wrk); our own client makes the load instead")
    factor = 2 if full else 1
    with tempfile.TemporaryDirectory(prefix="fortress-bench-") as directory, server(os.environ, console) as url:
        run = Run(url, rounds * factor, seconds * (3 if full else 1), Path(directory), _say(console))
        outcomes = [outcome for measure in chosen for outcome in measure.outcomes(run) if only is None or outcome.key in only]
    outcomes.sort(key=lambda outcome: [row.key for row in ROWS].index(outcome.key))
    _deliver(outcomes, issues, console, as_json=as_json)
    sys.exit(1 if falls_short(outcomes, issues) else 0)


def _chosen(only: list[str] | None) -> list[Measure]:
    """The measures that fill the asked rows, in order of their cost."""
    unknown = set(only or ()) - {row.key for row in ROWS}
    if unknown:
        raise typer.BadParameter(f"no row {', '.join(sorted(unknown))}; there are {', '.join(row.key for row in ROWS)}")
    return [measure for measure in MEASURES if only is None or set(only) & set(measure.keys)]


def _deliver(outcomes: list[Outcome], issues: list[int], console: Console, *, as_json: bool) -> None:
    whole = report(outcomes, facts())
    written = msgspec.json.format(msgspec.json.encode(whole))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    path.write_bytes(written)
    if as_json:
        print(written.decode())
        return
    show(console, outcomes, issues)
    console.print(f"{' · '.join(str(value) for value in whole['machine'].values())}\n{path.relative_to(Path.cwd())}", soft_wrap=True)


def _say(console: Console) -> Callable[[str], None]:
    started = time.monotonic()
    return lambda text: console.print(f"[dim]{time.monotonic() - started:5.0f} s[/]  {text}")


if __name__ == "__main__":
    typer.run(main)
