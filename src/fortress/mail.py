"""Mail: a port, a local outbox for development, SMTP for real."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from fortress.clock import Ids
from fortress.errors import CannotStart

SMTP_TIMEOUT = 10.0


class Mail(msgspec.Struct, frozen=True):
    """One message to one person, in plain text."""

    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None: ...


class DirectoryMailer:
    """Writes each mail as an .eml file, to be looked at in development."""

    def __init__(self, directory: Path, sender: str, ids: Ids) -> None:
        self._directory = directory
        self._sender = sender
        self._ids = ids

    async def send(self, mail: Mail) -> None:
        await asyncio.to_thread(self._write, bytes(message(mail, self._sender)))

    def _write(self, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / f"{self._ids.new()}.eml").write_bytes(content)


class SmtpMailer:
    """Sends through an SMTP server; TLS always, unless the server is on loopback.

    Raises:
        CannotStart: the URL is not smtp(s)://, or aiosmtplib is not installed.
    """

    def __init__(self, url: str, sender: str) -> None:
        try:
            import aiosmtplib
        except ImportError:
            raise CannotStart("FORTRESS_MAIL_URL needs aiosmtplib", hint="pip install 'fortress[mail]'") from None
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise CannotStart("FORTRESS_MAIL_URL is not smtp(s)://host:port")
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._sender = sender
        self._send = aiosmtplib.send
        self._options: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port,
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            "start_tls": None if local or parts.scheme == "smtps" else True,
            "timeout": SMTP_TIMEOUT,
        }

    async def send(self, mail: Mail) -> None:
        await self._send(message(mail, self._sender), **self._options)


def message(mail: Mail, sender: str) -> EmailMessage:
    """The mail as it travels. A line break in a header is refused by EmailMessage itself (ASVS V1.3.11)."""
    built = EmailMessage()
    built["From"] = sender
    built["To"] = mail.to
    built["Subject"] = mail.subject
    built.set_content(mail.text)
    return built
