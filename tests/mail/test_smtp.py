"""Sending, against a real SMTP server that refuses, wants mail later, stalls and hangs up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from uuid import UUID

import pytest
from tests.mail.postoffice import PostOffice, always, opened

from fortress.mail import AddressRefused, Mail, MailDelayed, MailRefused, SmtpMailer
from fortress.mail.smtp import SmtpTimes

MAIL = Mail(
    "ann@example.com",
    "Grüße",
    "Ein Text.\n",
    "<p>Ein Text.</p>",
    id=UUID("01890000-0000-7000-8000-000000000001"),
    at=datetime(2026, 6, 1, tzinfo=UTC),
)
# Long enough for a busy machine where an answer comes, short where none does.
PATIENT = SmtpTimes(reply=10.0, verdict=10.0, whole=20.0)
HURRIED = SmtpTimes(reply=0.3, verdict=0.3, whole=10.0)


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    async with opened(PostOffice()) as made:
        yield made


def mailer(office: PostOffice, times: SmtpTimes = PATIENT, host: str = "127.0.0.1") -> SmtpMailer:
    return SmtpMailer(f"smtp://{host}:{office.port}", "The Shop <shop@example.com>", times)


async def test_a_mail_arrives_as_it_was_meant(office: PostOffice) -> None:
    await mailer(office).send(MAIL)
    (taken,) = office.taken
    assert (taken.mail_from, taken.rcpt_tos) == ("shop@example.com", ["ann@example.com"])
    assert isinstance(taken.content, bytes)
    read = message_from_bytes(taken.content, policy=policy.default)
    assert (read["Subject"], read["Message-ID"]) == ("Grüße", f"<{MAIL.id}@example.com>")
    plain = read.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().replace("\r\n", "\n") == "Ein Text.\n"


async def test_an_address_beyond_ascii_arrives(office: PostOffice) -> None:
    await mailer(office).send(Mail("änn@example.com", "s", "t"))
    assert office.taken[0].rcpt_tos == ["änn@example.com"]


@pytest.mark.parametrize(
    ("stage", "answer", "error"),
    [
        ("MAIL", "550 5.7.1 not from you", MailDelayed),
        ("MAIL", "451 4.3.0 later", MailDelayed),
        ("RCPT", "450 4.2.0 greylisted, come back in five minutes", MailDelayed),
        ("RCPT", "421 4.3.2 shutting down", MailDelayed),
        ("RCPT", "550 5.1.1 no such user", AddressRefused),
        ("RCPT", "550 no such user", AddressRefused),
        ("RCPT", "553 5.1.3 no address", AddressRefused),
        ("RCPT", "550 5.2.1 mailbox disabled", AddressRefused),
        ("RCPT", "554 5.7.1 you are on a list", MailRefused),
        ("RCPT", "552 5.2.2 mailbox full", MailRefused),
        ("DATA", "554 5.6.0 this is spam", MailRefused),
        ("DATA", "452 4.3.1 disk full", MailDelayed),
    ],
)
async def test_what_the_server_says_is_told_apart(office: PostOffice, stage: str, answer: str, error: type[Exception]) -> None:
    """Only who says that nobody has the address speaks of the address; who does not let us in says nothing of the mail."""
    office.answers[stage] = always(answer)
    with pytest.raises(MailDelayed if error is MailDelayed else MailRefused) as caught:
        await mailer(office).send(MAIL)
    assert type(caught.value) is error
    assert caught.value.code == int(answer[:3])
    assert "ann@example.com" not in str(caught.value)
    assert office.taken == []


@pytest.mark.parametrize(("stage", "uncertain"), [("MAIL", False), ("RCPT", False), ("DATA", True)])
async def test_a_server_that_stalls_is_given_up(office: PostOffice, stage: str, uncertain: bool) -> None:
    office.silent = {stage}
    with pytest.raises(MailDelayed) as caught:
        await mailer(office, HURRIED).send(MAIL)
    assert caught.value.uncertain is uncertain


@pytest.mark.parametrize(("stage", "uncertain"), [("MAIL", False), ("RCPT", False), ("DATA", True)])
async def test_a_server_that_hangs_up_is_tried_again(office: PostOffice, stage: str, uncertain: bool) -> None:
    office.dropping = {stage}
    with pytest.raises(MailDelayed) as caught:
        await mailer(office).send(MAIL)
    assert caught.value.uncertain is uncertain


async def test_a_mail_that_was_taken_in_silence_comes_again_as_the_same_one(office: PostOffice) -> None:
    """Nobody can know whether it arrived; so the second is, to the byte, the first."""
    office.swallowing = True
    with pytest.raises(MailDelayed) as caught:
        await mailer(office).send(MAIL)
    assert caught.value.uncertain
    office.swallowing = False
    await mailer(office).send(MAIL)
    first, second = (taken.content for taken in office.taken)
    assert first == second


async def test_what_follows_the_yes_is_no_failure(office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server took it and hangs up instead of saying goodbye: to send it again would be to send it twice."""
    from aiosmtpd.smtp import SMTP

    async def hang_up(self: SMTP, _argument: str | None) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.abort()

    monkeypatch.setattr(SMTP, "smtp_QUIT", hang_up)
    await mailer(office).send(MAIL)
    assert len(office.taken) == 1


async def test_nobody_at_home_is_for_later() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(MailDelayed):
            await SmtpMailer(f"smtp://127.0.0.1:{taken.getsockname()[1]}", "shop@example.com", HURRIED).send(MAIL)


async def test_off_loopback_nothing_goes_out_without_tls(office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server offers no STARTTLS, as one does whom somebody in between speaks for (SEC001)."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1" if host == "mail.test" else host, *rest, **more)
    )
    await mailer(office).send(MAIL)
    with pytest.raises(MailDelayed):
        await mailer(office, host="mail.test").send(MAIL)
    assert len(office.taken) == 1
    assert office.seen["MAIL"] == 1


async def test_a_wrong_password_is_no_fault_of_the_mail(office: PostOffice) -> None:
    """The server knows no sign-in: what it refuses is us."""
    signing_in = SmtpMailer(f"smtp://shop:wrong@127.0.0.1:{office.port}", "shop@example.com", PATIENT)
    with pytest.raises(MailDelayed) as caught:
        await signing_in.send(MAIL)
    assert "wrong" not in str(caught.value)
