"""What a mail is, and how it travels (RFC 5322)."""

from __future__ import annotations

import re
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Final, Protocol
from uuid import UUID

import msgspec

MOST_SUBJECT: Final = 200
MOST_ADDRESS: Final = 320
MOST_URL: Final = 500
MOST_BODY: Final = 262_144
# What could begin another header or hide one; EmailMessage refuses line breaks too.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_POLICY: Final = policy.SMTP.clone(cte_type="7bit")


class Mail(msgspec.Struct, frozen=True):
    """One message to one person.

    Attributes:
        to: one address.
        text: for those who read plain text, and for machines.
        html: the same for those who don't; empty: there is none.
        id: what the Message-ID is made of. The same one for each try, so that whoever gets it twice can tell; None: it has none.
        at: since when it is to be sent; the same for each try.
        unsubscribe: the https address by which one click ends mails of this kind (RFC 8058); empty: they can't be ended.
    """

    to: str
    subject: str
    text: str
    html: str = ""
    id: UUID | None = None
    at: datetime | None = None
    unsubscribe: str = ""

    def __repr__(self) -> str:
        return f"Mail(id={self.id})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None:
        """Hand it over for good.

        Raises:
            MailDelayed: not now.
            MailRefused: never; AddressRefused, where it is for the address.
            ValueError: it can't be a mail: a header with a line break, no address, too large.
        """
        ...


def composed(mail: Mail, sender: str) -> EmailMessage:
    """The mail as it travels: the same bytes for the same mail, if it has an id and a time.

    Raises:
        ValueError: a header with a control character (ASVS V1.3.11), no single address, or a part over its bound.
    """
    _check(mail)
    built = EmailMessage(_POLICY.clone(utf8=not mail.to.isascii()))
    built["From"] = sender
    built["To"] = _address(mail.to)
    built["Subject"] = mail.subject
    if mail.at is not None:
        built["Date"] = mail.at
    if mail.id is not None:
        built["Message-ID"] = f"<{mail.id}@{_domain_of(sender)}>"
    # RFC 3834 §5: nobody's holiday notice is an answer to this.
    built["Auto-Submitted"] = "auto-generated"
    if mail.unsubscribe:
        built["List-Unsubscribe"] = f"<{mail.unsubscribe}>"
        built["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    built.set_content(mail.text)
    if mail.html:
        built.add_alternative(mail.html, subtype="html")
        # Its own boundary would be another one at each try.
        built.set_boundary(f"=_{mail.id or 'alternative'}")
    return built


def _check(mail: Mail) -> None:
    for what, header, longest in (
        ("subject", mail.subject, MOST_SUBJECT),
        ("address", mail.to, MOST_ADDRESS),
        ("link", mail.unsubscribe, MOST_URL),
    ):
        if CONTROL.search(header):
            raise ValueError(f"a mail's {what} is one line, without a linefeed or other control characters")
        if len(header) > longest:
            raise ValueError(f"a mail's {what} has at most {longest} characters")
    if mail.unsubscribe and re.search(r"[<>\s]", mail.unsubscribe):
        raise ValueError("a mail's link is a URL")
    if max(len(mail.text), len(mail.html)) > MOST_BODY:
        raise ValueError(f"a mail's text has at most {MOST_BODY} characters")


def _address(text: str) -> Address:
    """Exactly one address: a list or a name beside it would send the mail to somebody else."""
    try:
        checked = Address(addr_spec=re.sub(r"[^\x00-\x7f]", "a", text))
        if text.isascii():
            return checked
        # The parser takes ASCII alone (RFC 6531 came later); what it would have said of the rest is the same.
        local, _, domain = text.rpartition("@")
        return Address(username=local, domain=domain)
    except Exception as error:
        # The parser raises what it comes across: its own errors, IndexError, AttributeError.
        raise ValueError("a mail goes to one address") from error


def _domain_of(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"
