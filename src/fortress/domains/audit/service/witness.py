"""A witness outside the database: how long the chain had been at the last seal, so that a cut tail shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from fortress.settings import Settings

_FILE: Final = "audit-witness.json"
_log = structlog.get_logger("fortress.audit")


class Testimony(msgspec.Struct, frozen=True):
    """The last seal that this server made or saw: its number, and its hash in hex."""

    number: int
    hash: str


class Witness:
    """Remembers the last seal in a file of this server, and says it in the log, from where it may travel further."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.state_dir / _FILE

    def recall(self) -> Testimony | None:
        """What is remembered; None when there is nothing, or nothing readable."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Testimony)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("audit.witness_unreadable", path=str(self._path), reason=type(error).__name__)
            return None

    def remember(self, number: int, digest: bytes) -> None:
        """Remember this seal, unless a later one is remembered. A place that can't be written is said and is no error."""
        _log.info("audit.sealed", seal=number, hash=digest.hex())
        known = self.recall()
        if known is not None and known.number >= number:
            return
        try:
            _replace(self._path, msgspec.json.encode(Testimony(number, digest.hex())))
        except OSError as error:
            _log.warning("audit.witness_unwritable", path=str(self._path), reason=type(error).__name__)


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all: a crash leaves the old file or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
