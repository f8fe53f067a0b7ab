"""Servers that are up in a fraction of a second: forked from a process that has imported the project already.

Importing is most of what a start takes, and a crash test starts a server for each crash. What is forked runs the very
`fortress` command, in a session of its own and with an environment of its own.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import TracebackType
from typing import Final, NoReturn, Self

import msgspec

from fortress.main import main

_POLL: Final = 0.01


class _Birth(msgspec.Struct, frozen=True, tag="birth"):
    """Fork a `fortress` with these arguments; answered by its process id."""

    arguments: list[str]
    environment: dict[str, str]
    out: str
    log: str


class _Look(msgspec.Struct, frozen=True, tag="look"):
    """How did it end? Answered by its exit code, or null while it lives."""

    pid: int


class Nursery:
    """The process that servers are forked from; begun with the first one, and gone after the block with all of them.

    Args:
        target: the app, as `fortress serve` is told it.
        directory: where it is found from.
    """

    def __init__(self, target: str, directory: Path) -> None:
        self._target = target
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            with self._process:
                self._process.stdin.close()  # type: ignore[union-attr]  # it was opened with a pipe

    def bear(self, arguments: Sequence[str], environment: Mapping[str, str], out: Path, log: Path) -> Child:
        """Begin a `fortress` with these arguments; what it says is added to these files."""
        pid = self._ask(_Birth(list(arguments), dict(environment), str(out), str(log)))
        assert pid is not None
        return Child(self, pid)

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
        """A `fortress` with these arguments, seen through to its end, and what it said.

        Raises:
            subprocess.TimeoutExpired: it took longer than this; it is killed.
        """
        with TemporaryDirectory() as folder:
            out, log = Path(folder) / "out", Path(folder) / "log"
            child = self.bear(arguments, environment, out, log)
            try:
                code = child.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                raise
            return subprocess.CompletedProcess(list(arguments), code, out.read_text("utf-8"), log.read_text("utf-8"))

    def look(self, pid: int) -> int | None:
        """The exit code of one of its children, as subprocess gives it; None while it lives."""
        return self._ask(_Look(pid))

    def _ask(self, question: _Birth | _Look) -> int | None:
        with self._turn:
            if self._process is None:
                command = [sys.executable, "-m", "fortress.testing.nursery", self._target]
                self._process = subprocess.Popen(command, cwd=self._directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            to, back = self._process.stdin, self._process.stdout
            assert to is not None
            assert back is not None
            to.write(msgspec.json.encode(question) + b"\n")
            to.flush()
            return msgspec.json.decode(back.readline(), type=int | None)


class Child:
    """One process of a nursery, with what `subprocess.Popen` has for it.

    Attributes:
        pid: also of its process group.
    """

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._ended: int | None = None

    def poll(self) -> int | None:
        """The exit code; None while it lives."""
        if self._ended is None:
            self._ended = self._nursery.look(self.pid)
        return self._ended

    def wait(self, timeout: float) -> int:
        """The exit code once it has ended. Raises TimeoutExpired when that takes more than `timeout` seconds."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL)
        return code

    def send_signal(self, number: int) -> None:
        """To this process alone, while it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def rear(target: str) -> None:
    """What the nursery's own process does: import the project, then fork at each demand until nobody makes any more."""
    sys.path.insert(0, str(Path.cwd()))
    importlib.import_module(target.partition(":")[0])
    children = set[int]()
    for line in sys.stdin.buffer:
        question = msgspec.json.decode(line, type=_Birth | _Look)
        answer: int | None
        if isinstance(question, _Birth):
            answer = os.fork() or _live(question)
            children.add(answer)
        else:
            answer = _code(question.pid)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _code(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _live(birth: _Birth) -> NoReturn:
    """In the child: become the command. Never comes back to the nursery's own work."""
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        files = [os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for name in (birth.out, birth.log)]
        for number, file in enumerate([nothing, *files]):
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(birth.environment)
        sys.argv = ["fortress", *birth.arguments]
        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    rear(sys.argv[1])
