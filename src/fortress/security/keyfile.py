"""The key ring in a file of mode 0600, replaced in one step and changed by one process at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from fortress.clock import Clock
from fortress.errors import CannotStart
from fortress.security.keymaterial import RingContent, decode_ring, encode_ring
from fortress.security.keys import KeyRing, new_ring
from fortress.settings import Settings

DEVELOPMENT_FILE: Final = "keyring.json"
_MAX_BYTES: Final = 1_048_576
_LOCK_TRIES: Final = 50
_LOCK_PAUSE: Final = 0.1
_SPARE: Final = timedelta(minutes=1)
_SPARE_DAYS: Final = timedelta(days=1)


class FileKeys:
    """A KeyProvider over one JSON file.

    Args:
        path: the file; its folder must be writable for changes, not for reading.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"FileKeys({str(self._path)!r})"

    def stamp(self) -> Hashable:
        try:
            found = self._path.stat()
        except OSError as error:
            raise _unreachable(self._path, error) from None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def load(self) -> RingContent:
        return decode_ring(self._read())

    def change(self, edit: Callable[[RingContent], RingContent]) -> None:
        with self._alone():
            self._write(edit(self.load()))

    def ensure(self, make: Callable[[], RingContent]) -> bool:
        """Make the ring when there is none; of several processes that try at once, one makes it. True: it was made.

        Raises:
            CannotStart: the file can't be written.
        """
        if self._path.exists():
            return False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unreachable(self._path, error) from None
        with self._alone():
            if self._path.exists():
                return False
            self._write(make())
        return True

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                self._refuse_if_open_to_others(os.fstat(file.fileno()))
                return file.read(_MAX_BYTES)
        except OSError as error:
            raise _unreachable(self._path, error) from None

    def _refuse_if_open_to_others(self, found: os.stat_result) -> None:
        if stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            raise CannotStart(f"the key ring {self._path} can be reached by other users", hint=f"chmod 600 {self._path}")

    def _write(self, content: RingContent) -> None:
        content.check()
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(encode_ring(content))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise _unreachable(self._path, error) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock: the file itself is replaced, so a lock on it would hold the old one."""
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise _unreachable(self._path, error) from None
        try:
            _lock(folder, self._path)
            yield
            os.fsync(folder)
        finally:
            os.close(folder)


def open_keyring(settings: Settings, clock: Clock) -> KeyRing:
    """The key ring that the settings name; in development, without one, it is made under the state directory, and kept up to date.

    Raises:
        CannotStart: the file is missing, unreadable, open to other users, or not a key ring.
    """
    if settings.keyring is None:
        provider = FileKeys(settings.state_dir / DEVELOPMENT_FILE)
        provider.ensure(lambda: new_ring(clock.now()))
    else:
        provider = FileKeys(Path(settings.keyring))
    ring = KeyRing(
        provider,
        clock,
        overlap=timedelta(minutes=settings.access_minutes) + _SPARE,
        secret_overlap=timedelta(days=settings.session_days) + _SPARE_DAYS,
    )
    if settings.keyring is None:
        ring.upgrade()
    return ring


def _lock(folder: int, path: Path) -> None:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return
    raise CannotStart(f"the key ring {path} is being changed by another process", hint="try again")


def _unreachable(path: Path, error: OSError) -> CannotStart:
    return CannotStart(f"the key ring {path} can't be used: {error.strerror or error}", hint="FORTRESS_KEYRING names the file")
