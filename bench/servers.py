"""Starts servers, pins them to a core and counts the CPU that they take."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from bench.environment import ROOT
from bench.machine import MEASURED_CORE

START_TIMEOUT: Final = 60.0
STOP_TIMEOUT: Final = 15.0
_LAST_WORDS: Final = 800


class ServerFailed(RuntimeError):
    """A server did not start; the message holds the last it said."""


class Server:
    """One server under test, with all its processes.

    Args:
        command: may contain `{port}`.
        ready: a path that answers 200 once the server can work.
        cores: where it may run; the measured core unless said otherwise.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: dict[str, str],
        ready: str = "/ready",
        cores: Sequence[int] = (MEASURED_CORE,),
    ) -> None:
        self.name = name
        self.port = free_port()
        self._command = [part.format(port=self.port) for part in command]
        self._environment = os.environ | {"BENCH_PORT": str(self.port)} | environment
        self._log = log
        self._ready = ready
        self._cores = set(cores)

    def __enter__(self) -> Self:
        with self._log.open("ab") as output:
            self._process = psutil.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, preexec_fn=self._pin, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """The server's process and all below it."""
        return [self._process, *self._process.children(recursive=True)]

    def cpu(self) -> float:
        """CPU seconds that all its processes have taken so far."""
        times = [process.cpu_times() for process in self.processes()]
        return float(sum(each.user + each.system for each in times))

    def stop(self) -> None:
        """Ask it to stop; kill what does not."""
        if self._process.poll() is not None:
            return
        below = self._process.children(recursive=True)
        self._process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs([self._process, *below], timeout=STOP_TIMEOUT)
        for process in alive:
            process.kill()

    def _pin(self) -> None:
        os.sched_setaffinity(0, self._cores)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + START_TIMEOUT
        while not answers(self.port, self._ready):
            if self._process.poll() is not None or time.monotonic() > until:
                raise ServerFailed(f"{self.name} did not start: {last_words(self._log)}")
            time.sleep(0.02)


def answers(port: int, path: str) -> bool:
    """True when a GET of this path is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def last_words(log: Path) -> str:
    """The end of a log, for a message."""
    return log.read_bytes()[-_LAST_WORDS:].decode(errors="replace").strip().replace("[", "(")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """True as soon as the condition holds; False when it does not within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
