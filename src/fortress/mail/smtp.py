"""Sending by SMTP (RFC 5321): one connection for each mail, TLS off loopback, and every silence bounded."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from email.utils import parseaddr
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from fortress.errors import CannotStart
from fortress.mail.errors import AddressRefused, MailDelayed, MailError, MailRefused
from fortress.mail.message import Mail, composed

if TYPE_CHECKING:
    import aiosmtplib

_PERMANENT: Final = 500
# X.1.x is the address, X.2.1 a mailbox that is closed (RFC 3463 §3.2, §3.3); others are about policy, size or the system.
_ENHANCED: Final = re.compile(r"5\.(\d{1,3})\.(\d{1,3})\b")
_NO_MAILBOX: Final = frozenset({550, 551, 553})


class SmtpTimes(msgspec.Struct, frozen=True):
    """Seconds.

    Attributes:
        reply: that one answer may take.
        verdict: that the server may take to accept a whole message; long, for a mail that we give up on here may arrive twice.
        whole: that all of it may take.
    """

    reply: float = 10.0
    verdict: float = 60.0
    whole: float = 120.0


class SmtpMailer:
    """Sends through an SMTP server; TLS always, unless the server is on loopback.

    Raises:
        CannotStart: the URL is not smtp(s)://, or aiosmtplib is not installed.
    """

    def __init__(self, url: str, sender: str, times: SmtpTimes | None = None) -> None:
        try:
            import aiosmtplib
        except ImportError:
            raise CannotStart("FORTRESS_MAIL_URL needs aiosmtplib", hint="pip install 'fortress[mail]'") from None
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise CannotStart("FORTRESS_MAIL_URL is not smtp(s)://host:port")
        self._sender = sender
        self._envelope = parseaddr(sender)[1]
        self._times = times or SmtpTimes()
        self._library = aiosmtplib
        self._options: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port,
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            "start_tls": None if _on_loopback(parts.hostname) or parts.scheme == "smtps" else True,
            "timeout": self._times.reply,
        }

    async def send(self, mail: Mail) -> None:
        """Hand the mail to the server. Once it has said that it took it, nothing that follows is a failure."""
        message = composed(mail, self._sender)
        client = self._library.SMTP(**self._options)
        try:
            async with asyncio.timeout(self._times.whole):
                await self._opened(client, mail.to)
                await self._handed_over(client, bytes(message))
                with suppress(Exception):
                    await client.quit()
        except TimeoutError:
            # That of the whole: what a single answer ran out of was told apart below.
            raise MailDelayed("the mail server is too slow") from None
        finally:
            client.close()

    async def _opened(self, client: aiosmtplib.SMTP, to: str) -> None:
        """Get as far as naming sender and recipient: nothing that fails here has sent anything."""
        try:
            await client.connect()
            await client.mail(self._envelope, options=_options(client, to), encoding="utf-8")
        except (self._library.SMTPException, OSError, ValueError) as error:
            # Whatever it is, it is no fault of this mail: we may not get in, or are not configured as the server wants us.
            raise MailDelayed(f"the mail server was not open to us: {type(error).__name__}", _code(error)) from None
        try:
            await client.rcpt(to, encoding="utf-8")
        except (self._library.SMTPException, OSError, ValueError) as error:
            raise _refused_recipient(error) from None

    async def _handed_over(self, client: aiosmtplib.SMTP, content: bytes) -> None:
        try:
            await client.data(content, timeout=self._times.verdict)
        except self._library.SMTPResponseException as error:
            kind = MailRefused if error.code >= _PERMANENT else MailDelayed
            raise kind("the mail server did not take the message", error.code) from None
        except (self._library.SMTPException, OSError, ValueError) as error:
            raise MailDelayed(f"the mail server fell silent: {type(error).__name__}", uncertain=True) from None


def _options(client: aiosmtplib.SMTP, to: str) -> list[str]:
    """What must be said of the envelope: an address beyond ASCII needs a server that knows them (RFC 6531).

    Raises:
        ValueError: the server knows none.
    """
    if to.isascii():
        return []
    if not client.supports_extension("smtputf8"):
        raise ValueError("the mail server takes no address beyond ASCII")
    return ["SMTPUTF8"]


def _refused_recipient(error: Exception) -> MailError:
    code = _code(error)
    if code is None or code < _PERMANENT:
        return MailDelayed("the mail server did not take the recipient", code)
    detail = _ENHANCED.match(str(getattr(error, "message", "")))
    no_mailbox = (detail[1] == "1" or detail.groups() == ("2", "1")) if detail else code in _NO_MAILBOX
    return AddressRefused("nobody has this address", code) if no_mailbox else MailRefused("the mail server refused the recipient", code)


def _code(error: Exception) -> int | None:
    code = getattr(error, "code", None)
    return code if isinstance(code, int) and code > 0 else None


def _on_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
