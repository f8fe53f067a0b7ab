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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

START_SECONDS: Final = 40.0
STOP_SECONDS: Final = 20.0
_PAUSE: Final = 0.05
_PROGRESS: Final = "·"
_ROOT: Final = Path(__file__).parents[3]
# Small and quick, where nothing else is asked for.
_USUAL: Final[Mapping[str, str]] = {
    "FORTRESS_WORKERS": "2",
    "FORTRESS_ADMIN_EMAIL": ADMIN,
    "FORTRESS_ADMIN_PASSWORD": ADMIN_PASSWORD,
    "FORTRESS_ARGON2_MEMORY": "12288",
    "FORTRESS_ARGON2_TIME": "1",
    "FORTRESS_DATABASE_READERS": "4",
    "FORTRESS_DATABASE_WRITERS": "4",
    "FORTRESS_DRAIN_SECONDS": "0.2",
    "FORTRESS_LOG_FORMAT": "json",
    # Most tests that guess passwords look at other bounds; those of guessing have a test of their own.
    "FORTRESS_SIGN_IN_FAILURES": "1000000",
    "FORTRESS_SIGN_IN_FAILURES_PER_ADDRESS": "1000000",
    # A machine that is busy with tests is no reason to count locally.
    "FORTRESS_LIMIT_STORE_TIMEOUT": "2",
}


class DidNotStart(AssertionError):
    """The server ended, or did not answer in time; shows what it said."""


class Server:
    """One `fortress serve` and its workers, in a process group of their own.

    Args:
        database_url: the owner's; "" lets the server have an embedded one.
        state_dir: keys, mails, the audit witness; logs are kept there too.
        settings: without the prefix, in lower case; beside the usual ones.
        target: the app, found from `directory`.
    """

    def __init__(
        self, database_url: str, state_dir: Path, *, target: str = "shop.app:app", directory: Path = _ROOT, **settings: object
    ) -> None:
        self.database_url = database_url
        self.state_dir = state_dir
        self.port = free_port()
        self.settings: dict[str, object] = settings
        self._target = target
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._running.pid

    @property
    def workers(self) -> list[int]:
        """The processes that serve now."""
        listening = []
        for child in _children(self.pid):
            try:
                if any(one.laddr.port == self.port for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN):
                    listening.append(child.pid)
            except psutil.Error:
                continue
        return listening

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with, and commands on the same project."""
        given = {f"FORTRESS_{name.upper()}": str(value) for name, value in self.settings.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FORTRESS_")}
        own = {"FORTRESS_PORT": str(self.port), "FORTRESS_STATE_DIR": str(self.state_dir)}
        if self.database_url:
            own |= {"FORTRESS_DATABASE_URL": self.database_url, "FORTRESS_DATABASE_OWNER_URL": self.database_url}
        return {**kept, **_USUAL, **own, **given}

    def launch(self) -> None:
        """Start it, without waiting."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        with self._file("out").open("ab") as out, self._file("log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command("serve", self._target),
                cwd=self._directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start it, and wait until every worker listens and the server is ready. Raises DidNotStart."""
        self.launch()
        self.wait_ready()

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until every worker listens and it says that it is ready."""
        wanted = int(self.environment["FORTRESS_WORKERS"])
        if not eventually(lambda: self._ended() or (len(self.workers) == wanted and self.readiness() == 200), seconds) or self._ended():
            said = self.said()
            self.kill9()
            raise DidNotStart(said)

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
        """The exit code, when it ends by itself; what does not is killed, and raises TimeoutExpired."""
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise

    def kill9(self) -> None:
        """End the whole group at once, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def said(self) -> str:
        """Everything on standard output and standard error."""
        return "".join(self._file(name).read_text("utf-8", "replace") for name in ("out", "log"))

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

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `fortress` command on the same settings."""
        environment = {**self.environment, "FORTRESS_APP": self._target}
        return subprocess.run(
            self.command(*arguments), cwd=self._directory, env=environment, capture_output=True, text=True, timeout=START_SECONDS
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Another `fortress` command on the same settings, whose standard error is read while it runs."""
        environment = {**self.environment, "FORTRESS_APP": self._target}
        return subprocess.Popen(
            self.command(*arguments), cwd=self._directory, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def _ended(self) -> bool:
        return self._running.poll() is not None

    def _file(self, name: str) -> Path:
        return self.state_dir / f"serve.{name}"


class Stable:
    """Keeps the servers of a test, and leaves none behind."""

    def __init__(self) -> None:
        self._servers: list[Server] = []

    def add(self, server: Server) -> Server:
        self._servers.append(server)
        return server

    def clear(self) -> None:
        for server in self._servers:
            server.kill9()


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


def _children(pid: int) -> Iterator[psutil.Process]:
    try:
        yield from psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
