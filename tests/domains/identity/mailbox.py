"""What came by mail, as its reader uses it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.domains.conftest import World

from fortress import Fortress
from fortress.mail import OUTBOX, Mail, Outbox
from fortress.testing.jobs import Jobs

_TOKEN = re.compile(r"^    ([A-Za-z0-9_-]{43})$", re.M)


def token_in(mail: Mail) -> str:
    """The token of a mail, which has one."""
    (found,) = _TOKEN.findall(mail.text)
    return str(found)


async def mails(world: World, *, to: str | None = None, about: str = "") -> list[Mail]:
    """Those that have been sent to this address, with this in the subject, once all is sent."""
    await world.posted()
    return [mail for mail in world.letters.sent if to in (None, mail.to) and about in mail.subject]


async def tokens(world: World, *, to: str = "ann@example.com", about: str = "") -> list[str]:
    """The tokens in those mails."""
    return [token_in(mail) for mail in await mails(world, to=to, about=about)]


async def post(app: Fortress) -> None:
    """Have everything sent that waits to be, for an app whose jobs no worker runs."""
    runtime = app.runtime
    assert runtime is not None
    await runtime.background.finish(5)
    await Jobs(app.assemble().jobs, lambda: runtime.container).settle()


def outbox(directory: Path) -> list[Mail]:
    """What a server in development has written to its outbox, the oldest first."""
    return [Mail(mail.to, mail.subject, mail.text, mail.html) for mail in Outbox(directory / OUTBOX).mails()]


def last(directory: Path, *, to: str, about: str) -> Mail | None:
    """The newest mail of an outbox to this address with this in its subject."""
    return next((mail for mail in reversed(outbox(directory)) if mail.to == to and about in mail.subject), None)
