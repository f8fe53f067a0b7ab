"""One run of the benchmarks: what every measure is given, and what it may fail with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.client import Refused
from bench.contest import Contender, WorkerFailed, contest
from bench.environment import NotInstalled
from bench.http_load import LoadFailed
from bench.rows import Figure, Missing, Outcome
from bench.servers import ServerFailed
from bench.statistics import Summary

EXPECTED = (WorkerFailed, NotInstalled, LoadFailed, ServerFailed, Refused)
"""What stops a measure but not the run."""


class Run(msgspec.Struct, frozen=True):
    """What a measure works with.

    Attributes:
        database: the URL of a role that may create databases.
        rounds: of each contest in process; HTTP takes a third of it.
        seconds: of load per server and round.
        directory: for logs, gone after the run.
        say: tells the terminal what is being done.
    """

    database: str
    rounds: int
    seconds: int
    directory: Path
    say: Callable[[str], None]

    def contest(self, *contenders: Contender) -> Mapping[str, list[float]]:
        """CPU seconds per operation of each contender, round by round."""
        return contest(contenders, self.rounds, self.directory / "contest.log")

    @property
    def http_rounds(self) -> int:
        return max(3, self.rounds // 3)

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


class Measure(msgspec.Struct, frozen=True):
    """Fills these rows."""

    keys: tuple[str, ...]
    take: Callable[[Run], Sequence[Outcome]]

    def outcomes(self, run: Run) -> Sequence[Outcome]:
        """Its figures; where something is missing, the reason in their place."""
        try:
            return self.take(run)
        except EXPECTED as error:
            return [Missing(key, str(error)) for key in self.keys]


def figure(key: str, summary: Summary, **detail: float | str) -> Figure:
    return Figure(key, summary.median, summary.low, summary.high, detail)


def microseconds(seconds: Sequence[float]) -> float:
    """The median, in microseconds."""
    return round(sorted(seconds)[len(seconds) // 2] * 1e6, 1)
