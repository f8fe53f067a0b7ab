"""Whose processes the embedded PostgreSQL's are: ours, or, because it refuses root, a system user's."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from fortress.errors import CannotStart

SYSTEM_USER = "fortress-postgres"
_SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# PostgreSQL reads PG* names; a fixed environment also keeps our secrets out of its processes.
_ENVIRONMENT = {"PATH": _SYSTEM_PATHS, "LC_ALL": "C", "TZ": "UTC"}
_SECONDS = 30.0
_HINT = "run as another user than root, or point FORTRESS_DATABASE_URL at a PostgreSQL of your own"


class Account(msgspec.Struct, frozen=True):
    """The user that owns the data and runs the server; `other` when that is not us."""

    name: str
    uid: int
    gid: int
    other: bool

    def run(self, *command: str | Path, seconds: float = _SECONDS, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as this user, in a session of its own so that Ctrl-C passes it by.

        Raises:
            OSError: it can't be run, for instance because this user can't reach it.
            subprocess.TimeoutExpired: it took longer than `seconds` and was killed.
        """
        return subprocess.run(  # noqa: S603 - our own commands, no shell in between
            command,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            cwd="/",
            env=_ENVIRONMENT,
            umask=0o077,
            start_new_session=True,
            check=False,
            **self._switch(),
        )

    def enters(self, folder: Path) -> bool:
        """Whether this user can work in `folder`: tried, since modes alone don't tell (ACLs, mounts)."""
        return self.run("/bin/sh", "-c", 'cd -- "$1"', "sh", folder).returncode == 0

    def give(self, path: Path) -> None:
        """Make this user the owner of a path that we have just made."""
        if self.other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def _switch(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.other else {}


def account_for(data: Path) -> Account:
    """The user for a data directory: ourselves; as root, the owner of the data that is there, else our system user.

    Raises:
        CannotStart: the data belongs to somebody else, or the system user can't be made or become.
    """
    owner = _owner(data)
    if os.geteuid() != 0:
        return _owner_ourselves(data, owner)
    entry = _system_user() if owner in (None, 0) else _entry(owner)
    account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, other=True)
    _refuse_what_cannot_switch(account)
    return account


def _owner_ourselves(data: Path, owner: int | None) -> Account:
    if owner not in (None, os.geteuid()):
        raise CannotStart(
            f"the data in {data} belongs to the user {_entry(owner).pw_name}", hint="run as that user, or choose FORTRESS_STATE_DIR"
        )
    return ourselves()


def ourselves() -> Account:
    """The user that this process runs as."""
    return Account(_entry(os.geteuid()).pw_name, os.geteuid(), os.getegid(), other=False)


def _owner(data: Path) -> int | None:
    try:
        return data.stat().st_uid
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None


def _entry(uid: int | None) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid if uid is not None else os.geteuid())
    except KeyError:
        # A container may run under a number that no file names.
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _make_system_user()
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise CannotStart(f"PostgreSQL refuses to run as root and the user {SYSTEM_USER} can't be made", hint=_HINT) from None


def _make_system_user() -> None:
    useradd = shutil.which("useradd", path=_SYSTEM_PATHS)
    if useradd is None:
        raise CannotStart(f"PostgreSQL refuses to run as root and there is no useradd to make the user {SYSTEM_USER}", hint=_HINT)
    made = ourselves().run(
        useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell", "/usr/sbin/nologin", SYSTEM_USER
    )
    # Another process may have made it a moment ago: only its absence counts, and that our caller looks at.
    if made.returncode and "exists" not in made.stderr:
        raise CannotStart(f"the user {SYSTEM_USER} can't be made: {last_line(made.stderr)}", hint=_HINT)


def _refuse_what_cannot_switch(account: Account) -> None:
    try:
        account.run("/bin/sh", "-c", ":")
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotStart(f"PostgreSQL refuses to run as root and we may not become the user {account.name}: {error}", hint=_HINT) from None


def last_line(said: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
