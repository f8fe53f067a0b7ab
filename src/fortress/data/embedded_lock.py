"""Locks between the processes of one project, kept by the kernel: it lets go when their holder dies, however it died."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fortress.errors import CannotStart

_PAUSE: Final = 0.01
_PATIENCE: Final = 120.0  # seconds: another process may be making a data directory on a slow disk


@contextmanager
def exclusive(file: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold `file` alone.

    Raises:
        CannotStart: another process has held it for `patience` seconds, or it can't be opened.
    """
    handle = _open(file)
    try:
        for _ in range(int(patience / _PAUSE)):
            if _take(handle, fcntl.LOCK_EX):
                break
            time.sleep(_PAUSE)
        else:
            raise CannotStart(f"another process has held {file} for {patience:.0f} seconds", hint="look for a stuck `fortress`")
        yield
    finally:
        os.close(handle)


class Users:
    """Who uses a thing: each holds a share of `file`; the last one out is alone with it. Call under an exclusive lock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._handle: int | None = None

    @property
    def joined(self) -> bool:
        return self._handle is not None

    def join(self) -> None:
        """Be one of the users."""
        if self._handle is None:
            self._handle = _open(self._file)
            fcntl.flock(self._handle, fcntl.LOCK_SH)

    def leave(self) -> bool:
        """Be none of them any more; True when nobody is left."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        probe = _open(self._file)
        try:
            return _take(probe, fcntl.LOCK_EX)
        finally:
            os.close(probe)


def _open(file: Path) -> int:
    try:
        # Read-only is enough for a lock, so that root and the project's owner can share one file.
        return os.open(file, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise CannotStart(f"{file} can't be opened: {error.strerror}") from None


def _take(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
