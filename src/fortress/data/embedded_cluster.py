"""One data directory and the PostgreSQL that runs on it. Not safe against itself: call under the project's lock."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fortress.data.embedded_account import last_line
from fortress.data.embedded_place import MAJOR, SOCKET, Place, Say
from fortress.errors import CannotStart

OWNER: Final = "fortress"
# The server keeps its command line in `postmaster.opts`: by this we know one that we started.
_MARK: Final = "cluster_name=fortress"
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # One file a weekday, begun anew each week.
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
}
_INITDB: Final = (
    f"--username={OWNER}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
_INITDB_SECONDS: Final = 120.0
_KILL_SECONDS: Final = 5.0
_PAUSE: Final = 0.01
_PIDFILE_STATUS: Final = 7
_LOG_TAIL: Final = 8192
_WORST: Final = re.compile(r"(?:FATAL|PANIC):\s+(.*)")


class Cluster:
    """The data directory of a place."""

    def __init__(self, place: Place, settings: Mapping[str, str], say: Say) -> None:
        self._place = place
        self._settings = {**_SETTINGS, **settings}
        self._say = say
        self._data = Path(os.path.realpath(place.data))

    def run(self, seconds: float) -> None:
        """Have a server that answers: the one that runs, or a new one.

        Raises:
            CannotStart: somebody else's server has the data, its version is not ours, or the server gives up.
        """
        running = self._running()
        if running is not None:
            self._refuse_foreign(running)
            self._await_ready(running, seconds)
            return
        self._prepare()
        self._start(seconds)

    def stop(self, seconds: float) -> None:
        """Stop the server that runs and is ours: fast; when that takes longer than `seconds`, at once.

        Raises:
            CannotStart: it survives even that.
        """
        running = self._running()
        if running is None or not self._ours():
            return
        self._say("Stopping PostgreSQL")
        self._end(running, (signal.SIGINT, seconds), (signal.SIGQUIT, _KILL_SECONDS), (signal.SIGKILL, _KILL_SECONDS))

    def _running(self) -> int | None:
        written = self._pidfile()
        return int(written[0]) if written and written[0].isdigit() and self._serves(int(written[0])) else None

    def _pidfile(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
        except OSError:
            return []

    def _serves(self, process: int) -> bool:
        """Whether this process works in our data directory; its number alone may have been given to another since."""
        if not Path("/proc/self").exists():
            return _alive(process)
        try:
            return Path(f"/proc/{process}/cwd").readlink() == self._data
        except OSError:
            return False

    def _ours(self) -> bool:
        try:
            return _MARK in (self._data / "postmaster.opts").read_text("utf-8", "replace")
        except OSError:
            return False

    def _refuse_foreign(self, process: int) -> None:
        if not self._ours():
            raise CannotStart(
                f"the data in {self._data} is in use by another PostgreSQL server (process {process})",
                hint="stop that server, or choose another folder by FORTRESS_STATE_DIR",
            )

    def _prepare(self) -> None:
        made_by = self._version()
        if made_by is None:
            self._initialize()
        elif made_by != str(MAJOR):
            raise CannotStart(
                f"the data in {self._data} was made by PostgreSQL {made_by}, this is PostgreSQL {MAJOR}", hint=_other(made_by)
            )
        self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        """Take away what a killed server left: its number may be in use again, and would then mislead the next."""
        if self._pidfile() and Path("/proc/self").exists():
            self._await_the_last_child()
            (self._data / "postmaster.pid").unlink(missing_ok=True)
        for left_over in (SOCKET, f"{SOCKET}.lock"):
            (self._place.sockets / left_over).unlink(missing_ok=True)

    def _await_the_last_child(self) -> None:
        """A killed server's children notice and leave within moments; two servers' on one directory would ruin it."""
        for _ in range(int(_KILL_SECONDS / _PAUSE)):
            if not any(self._serves(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
                return
            time.sleep(_PAUSE)
        raise CannotStart(f"processes of a killed PostgreSQL still work in {self._data}", hint="end them and start again")

    def _version(self) -> str | None:
        try:
            return (self._data / "PG_VERSION").read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotStart(f"the data in {self._data} can't be read: {error.strerror}") from None

    def _initialize(self) -> None:
        if self._data.exists() and any(self._data.iterdir()):
            raise CannotStart(f"{self._data} is not empty and holds no PostgreSQL data", hint="move it away and start again")
        self._say(f"Preparing a PostgreSQL {MAJOR} data directory in {self._data}")
        fresh = self._data.with_name("data.new")  # renamed when whole, so that a killed initdb leaves nothing that looks like data
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            made = self._place.account.run(self._place.programs / "initdb", "--pgdata", fresh, *_INITDB, seconds=_INITDB_SECONDS)
            if made.returncode:
                raise CannotStart(f"PostgreSQL can't prepare {self._data}: {last_line(made.stderr).removeprefix('initdb: error: ')}")
            fresh.rename(self._data)
        except subprocess.TimeoutExpired:
            raise CannotStart(f"PostgreSQL has not prepared {self._data} within {_INITDB_SECONDS:.0f} seconds") from None
        except OSError as error:
            raise CannotStart(f"PostgreSQL can't prepare {self._data}: {error.strerror}") from None

    def _start(self, seconds: float) -> None:
        self._say(f"Starting PostgreSQL {MAJOR}")
        process = self._launch()
        try:
            self._await_ready(process, seconds)
        except BaseException:
            self._end(process, (signal.SIGQUIT, _KILL_SECONDS), (signal.SIGKILL, _KILL_SECONDS))
            raise

    def _launch(self) -> int:
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        folders = ("-D", str(self._data), "-k", str(self._place.sockets))
        command = (str(self._place.programs / "postgres"), *folders, "-c", _MARK, *settings)
        # Through a shell that leaves at once: the server outlives us when other processes use it, so it can't be our child.
        launch = 'log=$1; shift; "$@" >"$log" 2>&1 </dev/null & echo $!'
        started = self._place.account.run("/bin/sh", "-c", launch, "sh", self._start_log, *command)
        if not started.stdout.strip().isdigit():
            raise CannotStart(f"PostgreSQL can't be launched: {last_line(started.stderr)}")
        return int(started.stdout)

    @property
    def _start_log(self) -> Path:
        return self._place.home / "start.log"

    def _await_ready(self, process: int, seconds: float) -> None:
        for _ in range(int(seconds / _PAUSE)):
            written = self._pidfile()
            if len(written) > _PIDFILE_STATUS and written[0] == str(process) and written[_PIDFILE_STATUS].strip() == "ready":
                return
            if not _alive(process):
                raise CannotStart(f"PostgreSQL does not start: {self._last_words()}", hint=f"its log is in {self._place.home}")
            time.sleep(_PAUSE)
        raise CannotStart(
            f"PostgreSQL is not ready after {seconds:.0f} seconds: {self._last_words()}", hint=f"its log is in {self._place.home}"
        )

    def _last_words(self) -> str:
        """The worst that the server said last, from its first output or, once it has opened one, its log file."""
        logs = sorted((self._place.home / "log").glob("*.log"), key=lambda file: file.stat().st_mtime)
        said = "".join(_tail(file) for file in [*logs[-1:], self._start_log])
        worst = _WORST.findall(_tail(self._start_log)) or _WORST.findall(said)
        return str(worst[-1]).strip() if worst else last_line(said)

    def _end(self, process: int, *ways: tuple[signal.Signals, float]) -> None:
        for how, patience in ways:
            if not _alive(process):
                return
            os.kill(process, how)
            if self._gone(process, patience):
                return
        raise CannotStart(f"PostgreSQL does not stop (process {process})")

    def _gone(self, process: int, seconds: float) -> bool:
        for _ in range(int(seconds / _PAUSE)):
            if not _alive(process):
                return True
            time.sleep(_PAUSE)
        return False


def _alive(process: int) -> bool:
    """Whether a process runs; one that is dead and only waits to be buried doesn't."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OSError:
        return not Path("/proc/self").exists()
    return state not in "ZX"


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - _LOG_TAIL))
            return log.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _other(made_by: str) -> str:
    if made_by.isdigit() and int(made_by) > MAJOR:
        return "upgrade Fortress, or move the data away to begin anew"
    return "dump it with its own version's pg_dump, or move the data away to begin anew"
