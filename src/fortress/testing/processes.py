"""Real `fortress serve` processes: started as anyone starts them, watched from outside, ended by signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from fortress.settings import PREFIX
from fortress.testing.nursery import Child, Nursery

START_SECONDS: Final = 40.0
# More than a server gives its own workers (FORTRESS_KILL_SECONDS) before it kills them.
STOP_SECONDS: Final = 40.0
_LAST_WORDS: Final = 4000
_PAUSE: Final = 0.05
_PROGRESS: Final = "·"
# As Granian says it.
_LOST: Final = b"Unexpected exit from worker"


class DidNotStart(AssertionError):
    """The server ended, or did not answer in time; shows what it said."""


class DidNotStop(AssertionError):
    """The server had not ended in time, and was killed; shows what it said last."""


class ServerProcess:
    """One `fortress serve` and its workers, in a process group of their own.

    Args:
        database_url: the owner's; "" lets the server have an embedded one.
        state_dir: keys, mails, the audit witness; logs are kept there too.
        target: the app, found from `directory`.
        nursery: forks it from there, which is quicker; None: it is started as anyone starts it.
        settings: without the prefix, in lower case; beside the usual ones.

    Attributes:
        usual: what it is started with where nothing else is asked for: small, quick, its log to be read by `log_lines`.
        settings: may be changed between a stop and the next start.
    """

    usual: ClassVar[Mapping[str, object]] = {
        "workers": 1,
        "argon2_memory": 12_288,
        "argon2_time": 1,
        "database_readers": 4,
        "database_writers": 4,
        "drain_seconds": 0.2,
        "log_format": "json",
    }

    def __init__(
        self, database_url: str, state_dir: Path, *, target: str, directory: Path, nursery: Nursery | None = None, **settings: object
    ) -> None:
        self.database_url = database_url
        self.state_dir = state_dir
        self.port = free_port()
        self.settings: dict[str, object] = settings
        self._target = target
        self._directory = directory
        self._nursery = nursery
        self._log_began = 0
        self._process: subprocess.Popen[bytes] | Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._running.pid

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with, and commands on the same project."""
        own: dict[str, object] = {"port": self.port, "state_dir": self.state_dir}
        if self.database_url:
            own |= {"database_url": self.database_url, "database_owner_url": self.database_url}
        given = {**self.usual, **own, **self.settings}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return kept | {PREFIX + name.upper(): str(value) for name, value in given.items()}

    def launch(self) -> None:
        """Start it, without waiting."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._log_began = log.stat().st_size if (log := self._file("log")).exists() else 0
        self._process = self._popen() if self._nursery is None else self._born(self._nursery)

    def _popen(self) -> subprocess.Popen[bytes]:
        with self._file("out").open("ab") as out, self._file("log").open("ab") as log:
            return subprocess.Popen(
                self.command("serve", self._target),
                cwd=self._directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    def _born(self, nursery: Nursery) -> Child:
        return nursery.bear(["serve", self._target], self.environment, self._file("out"), self._file("log"))

    def start(self) -> None:
        """Start it, and wait until it is up. Raises DidNotStart."""
        self.launch()
        self.wait_ready()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it is up. Raises DidNotStart."""
        if not eventually(lambda: self._ended() or self.is_up(), seconds) or self._ended():
            said = self.said()
            self.kill9()
            raise DidNotStart(said)

    def is_up(self) -> bool:
        """Whether it says that it is ready."""
        return self.readiness() == 200

    def readiness(self) -> int:
        """The status of /health/ready; 0 when nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                wire.sendall(b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return int(wire.recv(4096).split(b" ", 2)[1])
        except (OSError, ValueError, IndexError):
            return 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process only."""
        self._running.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; the exit code, when it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code, when it ends by itself; what does not is killed, and raises DidNotStop."""
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.said()[-_LAST_WORDS:]
            self.kill9()
            raise DidNotStop(said) from None

    def kill9(self) -> None:
        """End the whole group at once, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def freeze(self) -> None:
        """Stop the whole group where it stands, as a machine that hangs; `thaw` lets it go on."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def said(self) -> str:
        """Everything on standard output and standard error."""
        return "".join(self._file(name).read_text("utf-8", "replace") for name in ("out", "log"))

    def lost_workers(self) -> int:
        """How many workers have ended that nobody had asked to, since it was last started, as far as the main process has noticed."""
        with self._file("log").open("rb") as said:
            said.seek(self._log_began)
            return said.read().count(_LOST)

    def log_lines(self) -> list[dict[str, Any]]:
        """The log so far. What is neither a record nor a line of progress fails the test: nothing may write past the log."""
        lines = self._file("log").read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and not line.startswith(_PROGRESS)]

    def faults(self) -> list[str]:
        """What nobody foresaw: each 500, and the trace of what led to it."""
        lines = self.log_lines()
        failed = {line["request_id"] for line in lines if line.get("status") == 500}
        return [line.get("exception") or str(line) for line in lines if line.get("request_id") in failed]

    def wait_for_line(self, **fields: object) -> dict[str, Any]:
        """The first log line with these fields, once it is written."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.log_lines() if fields.items() <= line.items()), None)

        assert eventually(lambda: found() is not None, 10), f"no log line with {fields}"
        return found() or {}

    def command(self, *arguments: str) -> list[str]:
        """A `fortress` command line."""
        return [sys.executable, "-m", "fortress.main", *arguments]

    def run(self, *arguments: str, seconds: float = START_SECONDS) -> subprocess.CompletedProcess[str]:
        """Another `fortress` command on the same settings, which may take so long."""
        environment = {**self.environment, "FORTRESS_APP": self._target}
        if self._nursery is not None:
            return self._nursery.run(arguments, environment, START_SECONDS)
        return subprocess.run(
            self.command(*arguments),
            cwd=self._directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Another `fortress` command on the same settings, whose standard error is read while it runs."""
        environment = {**self.environment, "FORTRESS_APP": self._target}
        return subprocess.Popen(
            self.command(*arguments), cwd=self._directory, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    @property
    def _running(self) -> subprocess.Popen[bytes] | Child:
        assert self._process is not None, "not started"
        return self._process

    def _ended(self) -> bool:
        return self._running.poll() is not None

    def _file(self, name: str) -> Path:
        return self.state_dir / f"serve.{name}"


def eventually(true: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether it becomes true within `seconds`; for what tells nobody when it happens."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE)
    return True


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
