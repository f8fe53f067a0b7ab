"""Mail: what development writes down, and what is refused."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path

import pytest

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.errors import CannotStart
from fortress.mail import DirectoryMailer, Mail, SmtpMailer, message


async def test_development_keeps_each_mail_as_a_file(tmp_path: Path) -> None:
    mailer = DirectoryMailer(tmp_path / "mail", "shop@example.com", TimeOrderedIds(SystemClock()))
    await mailer.send(Mail("ann@example.com", "Hello", "First line.\nSecond line."))
    (file,) = (tmp_path / "mail").iterdir()
    read = message_from_bytes(file.read_bytes())
    assert (read["From"], read["To"], read["Subject"]) == ("shop@example.com", "ann@example.com", "Hello")
    assert (tmp_path / "mail").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "mail", [Mail("a@example.com\r\nBcc: b@example.com", "s", "t"), Mail("a@example.com", "s\nBcc: b@example.com", "t")]
)
def test_a_line_break_in_a_header_is_refused(mail: Mail) -> None:
    """ASVS V1.3.11."""
    with pytest.raises(ValueError, match=r"linefeed|newline|header"):
        message(mail, "shop@example.com")


@pytest.mark.parametrize("url", ["http://mail.example.com", "smtp://", "mail.example.com"])
def test_an_address_that_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(CannotStart, match="FORTRESS_MAIL_URL"):
        SmtpMailer(url, "shop@example.com")
