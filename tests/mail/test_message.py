"""What a mail is: its headers, its bounds, and development's outbox."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from uuid import UUID

import pytest

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.errors import CannotStart
from fortress.mail import DirectoryMailer, Mail, Outbox, SmtpMailer, composed

ID = UUID("01890000-0000-7000-8000-000000000001")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SENDER = "The Shop <shop@example.com>"


async def test_development_keeps_each_mail_as_a_file(tmp_path: Path) -> None:
    mailer = DirectoryMailer(tmp_path / "mail", "shop@example.com", TimeOrderedIds(SystemClock()))
    await mailer.send(Mail("ann@example.com", "Hello", "First line.\nSecond line."))
    (file,) = (tmp_path / "mail").iterdir()
    read = message_from_bytes(file.read_bytes())
    assert (read["From"], read["To"], read["Subject"]) == ("shop@example.com", "ann@example.com", "Hello")
    assert (tmp_path / "mail").stat().st_mode & 0o077 == 0


async def test_a_mail_that_is_sent_again_is_there_once(tmp_path: Path) -> None:
    mailer = DirectoryMailer(tmp_path, "shop@example.com", TimeOrderedIds(SystemClock()))
    for _ in range(2):
        await mailer.send(Mail("ann@example.com", "Grüße", "Ein Text.\n", "<p>Ein Text.</p>", id=ID, at=NOON))
    (mail,) = Outbox(tmp_path).mails()
    assert (mail.to, mail.subject, mail.text, mail.html.strip()) == ("ann@example.com", "Grüße", "Ein Text.\n", "<p>Ein Text.</p>")


@pytest.mark.parametrize(
    "mail",
    [
        Mail("a@example.com\r\nBcc: b@example.com", "s", "t"),
        Mail("a@example.com", "s\nBcc: b@example.com", "t"),
        Mail("a@example.com", "s\u2028Bcc: b@example.com", "t"),
        Mail("a@example.com", "s\x00", "t"),
        Mail("a@example.com", "s", "t", unsubscribe="https://example.com/\r\nBcc: b@example.com"),
    ],
    ids=["to", "subject", "separator", "nul", "link"],
)
def test_a_line_break_in_a_header_is_refused(mail: Mail) -> None:
    """ASVS V1.3.11."""
    with pytest.raises(ValueError, match="linefeed"):
        composed(mail, SENDER)


@pytest.mark.parametrize("to", ["", "nobody", "a@example.com, b@example.com", "Ann <a@example.com>", "a@example.com b@example.com"])
def test_a_mail_goes_to_exactly_one_address(to: str) -> None:
    with pytest.raises(ValueError, match="one address"):
        composed(Mail(to, "s", "t"), SENDER)


@pytest.mark.parametrize(
    "mail",
    [Mail("a@example.com", "s" * 201, "t"), Mail("a@example.com", "s", "t" * 262_145), Mail(f"{'a' * 320}@example.com", "s", "t")],
    ids=["subject", "text", "address"],
)
def test_a_mail_has_its_bounds(mail: Mail) -> None:
    with pytest.raises(ValueError, match="at most"):
        composed(mail, SENDER)


def test_the_same_mail_is_the_same_bytes_each_time() -> None:
    """A second one that follows the first is one mail to whoever compares Message-IDs."""
    mail = Mail("ann@example.com", "Hello", "Text.\n", "<p>Text.</p>", id=ID, at=NOON, unsubscribe="https://shop.example.com/u/x")
    first = bytes(composed(mail, SENDER))
    assert bytes(composed(mail, SENDER)) == first
    read = message_from_bytes(first, policy=policy.default)
    assert read["Message-ID"] == f"<{ID}@example.com>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["List-Unsubscribe"] == "<https://shop.example.com/u/x>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]


def test_no_repr_shows_what_is_in_a_mail() -> None:
    assert "secret" not in repr(Mail("ann-secret@example.com", "secret", "secret", "secret"))


@pytest.mark.parametrize("url", ["http://mail.example.com", "smtp://", "mail.example.com"])
def test_an_address_that_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(CannotStart, match="FORTRESS_MAIL_URL"):
        SmtpMailer(url, "shop@example.com")
