"""Development's outbox: mails as files, to be looked at and never sent."""

from __future__ import annotations

import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import msgspec

from fortress.clock import Ids
from fortress.mail.message import Mail, composed

KEPT: Final = 1000
OUTBOX: Final = "mail"


class DirectoryMailer:
    """Writes each mail as an .eml file; the newest thousand are kept."""

    def __init__(self, directory: Path, sender: str, ids: Ids) -> None:
        self._directory = directory
        self._sender = sender
        self._ids = ids

    async def send(self, mail: Mail) -> None:
        """Write it down; a mail that is sent again is written over itself."""
        await asyncio.to_thread(self._write, f"{mail.id or self._ids.new()}.eml", bytes(composed(mail, self._sender)))

    def _write(self, name: str, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / name).write_bytes(content)
        for old in sorted(self._directory.glob("*.eml"))[:-KEPT]:
            old.unlink(missing_ok=True)


class Kept(msgspec.Struct, frozen=True):
    """A mail of the outbox.

    Attributes:
        name: of its file, without the ending; sorts by time.
        headers: in their order.
        html: empty where it has none.
    """

    name: str
    to: str
    subject: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str


class Outbox:
    """What development has not sent."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def mails(self) -> list[Kept]:
        """All of them, the oldest first."""
        return [_kept(file) for file in sorted(self._directory.glob("*.eml"))]

    def path(self, name: str) -> Path:
        """Where the mail of this name is."""
        return self._directory / f"{name}.eml"


def _kept(file: Path) -> Kept:
    message = message_from_bytes(file.read_bytes(), _class=EmailMessage, policy=policy.default)
    headers = tuple((name, str(value)) for name, value in message.items())
    return Kept(file.stem, str(message["To"]), str(message["Subject"]), headers, _part(message, "plain"), _part(message, "html"))


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return "" if body is None else str(body.get_content()).replace("\r\n", "\n")
