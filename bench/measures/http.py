"""Whole requests over HTTP: the server's CPU, ours against theirs, for three workloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.competitors import WORKLOADS, Competitor, Field, field
from bench.http_load import drive
from bench.rows import Missing, Outcome
from bench.run import Measure, Run, figure, microseconds
from bench.statistics import order_of_round, ratios

PEERS: Final = ("fastapi", "fastify")
Taken = dict[str, list[float]]


def take(run: Run) -> Sequence[Outcome]:
    with field(run) as competitors:
        taken = {workload: _rounds(run, workload, competitors.running) for workload in WORKLOADS}
    for workload in WORKLOADS:
        said = ", ".join(f"{name} {microseconds(values):.0f}" for name, values in taken[workload].items())
        run.say(f"server CPU of {workload}, µs: {said}")
    return [_outcome(workload, peer, taken[workload], competitors) for peer in PEERS for workload in WORKLOADS]


def _rounds(run: Run, workload: str, running: dict[str, Competitor]) -> Taken:
    """CPU seconds per request of each server, round by round; the first, which warms up, is not counted."""
    taken: Taken = {name: [] for name in running}
    for number in range(run.http_rounds + 1):
        run.say(f"whole requests, {workload}, round {number} of {run.http_rounds}")
        for name in order_of_round(list(running), number):
            spent = _spend(running[name], workload, run.seconds if number else 1)
            if number:
                taken[name].append(spent)
    return taken


def _spend(competitor: Competitor, workload: str, seconds: int) -> float:
    server = competitor.server
    before = server.cpu()
    load = drive(server.url, competitor.requests[workload], seconds).all_answered(server.name)
    return (server.cpu() - before) / load.requests


def _outcome(workload: str, peer: str, taken: Taken, competitors: Field) -> Outcome:
    key = f"{workload}-{peer}"
    absent = [f"{name}: {competitors.absent[name]}" for name in ("fortress", peer) if name in competitors.absent]
    if absent:
        return Missing(key, "; ".join(absent))
    detail = {f"{name}_us": microseconds(taken[name]) for name in ("fortress", peer, "floor") if name in taken}
    return figure(key, ratios(taken[peer], taken["fortress"]), **detail)


MEASURE: Final = Measure(tuple(f"{workload}-{peer}" for peer in PEERS for workload in WORKLOADS), take)
