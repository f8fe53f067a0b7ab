"""Runs operations of several processes in turns and compares the CPU that each took."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from bench.machine import MEASURED_CORE
from bench.servers import last_words
from bench.statistics import order_of_round

TARGET_SECONDS: Final = 0.12
_PROBE: Final = 200
_ROOT: Final = Path(__file__).parent.parent


class Contender(msgspec.Struct, frozen=True):
    """Who takes part: an interpreter, a workload (`module:factory`) and the factory's arguments."""

    name: str
    python: Path
    workload: str
    arguments: dict[str, str | int] = {}
    environment: dict[str, str] = {}


class WorkerFailed(RuntimeError):
    """A contender's process died; the message ends with the last it said."""


class Worker:
    """A contender's process, pinned to one core."""

    def __init__(self, contender: Contender, log: Path) -> None:
        self._name = contender.name
        self._log = log
        with log.open("ab") as output:
            self._process = self._spawn(contender, output)
        self._answer()
        self._times = self._calibrated()

    def _spawn(self, contender: Contender, output: IO[bytes]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(contender.python), "-m", "bench.worker", contender.workload, json.dumps(contender.arguments)],
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": f"src{os.pathsep}examples"} | contender.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            preexec_fn=_pin,  # noqa: PLW1509 - we start no threads
        )

    def run(self) -> float:
        """Run one round.

        Returns:
            CPU seconds of the whole process per operation.
        """
        return self._ask(self._times) / self._times

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.write("quit\n")
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _calibrated(self) -> int:
        """How many operations fill a round; asking warms up too."""
        self._ask(_PROBE)
        return max(50, int(TARGET_SECONDS / max(self._ask(_PROBE) / _PROBE, 1e-7)))

    def _ask(self, times: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"run {times}\n")
        self._process.stdin.flush()
        return float(self._answer()["cpu"])

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"{self._name} stopped with exit code {self._process.wait(10)}: {last_words(self._log)}")
        return dict(json.loads(line))


def _pin() -> None:
    os.sched_setaffinity(0, {MEASURED_CORE})


def contest(contenders: Sequence[Contender], rounds: int, log: Path) -> Mapping[str, list[float]]:
    """CPU seconds per operation of each contender, round by round, interleaved.

    Raises:
        WorkerFailed: one could not run.
    """
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    with ExitStack() as stack:
        workers = {contender.name: stack.enter_context(Worker(contender, log)) for contender in contenders}
        for number in range(rounds):
            for name in order_of_round(list(workers), number):
                taken[name].append(workers[name].run())
    return taken
