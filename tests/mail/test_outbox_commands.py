"""`fortress mail`: development's outbox at a shell, and none where mails are sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fortress.clock import SystemClock, TimeOrderedIds
from fortress.commands.mail import mail_app
from fortress.errors import CannotStart
from fortress.mail import DirectoryMailer, Mail

RUN = CliRunner()


@pytest.fixture
async def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryMailer:
    monkeypatch.chdir(tmp_path)
    mailer = DirectoryMailer(tmp_path / ".fortress" / "mail", "shop@example.com", TimeOrderedIds(SystemClock()))
    await mailer.send(Mail("ann@example.com", "Welcome", "Come in.\n", "<p>Come in.</p>"))
    await mailer.send(Mail("bob@example.com", "Your order", "It is on its way.\n"))
    return mailer


def test_the_mails_are_listed_and_shown(outbox: DirectoryMailer) -> None:
    listed = RUN.invoke(mail_app(), ["list"]).output
    assert listed.index("Welcome") < listed.index("Your order")
    first, second = json.loads(RUN.invoke(mail_app(), ["list", "--json"]).output)
    assert (first["to"], second["to"]) == ("ann@example.com", "bob@example.com")
    assert "It is on its way." in RUN.invoke(mail_app(), ["show"]).output
    assert "Come in." in RUN.invoke(mail_app(), ["show", first["name"][-8:]]).output
    assert "<p>Come in.</p>" in RUN.invoke(mail_app(), ["show", "--html", first["name"]]).output


def test_a_mail_that_is_not_there_is_said(outbox: DirectoryMailer) -> None:
    assert isinstance(RUN.invoke(mail_app(), ["show", "nothing"]).exception, CannotStart)


def test_where_mails_are_sent_there_is_no_outbox(outbox: DirectoryMailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORTRESS_MAIL_URL", "smtp://127.0.0.1")
    assert isinstance(RUN.invoke(mail_app(), ["list"]).exception, CannotStart)
