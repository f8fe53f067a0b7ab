"""What came by mail, as its reader uses it."""

from __future__ import annotations

import re

from tests.domains.conftest import World

from fortress.mail import Mail

_TOKEN = re.compile(r"^    ([A-Za-z0-9_-]{43})$", re.M)


def token_in(mail: Mail) -> str:
    """The token of a mail, which has one."""
    (found,) = _TOKEN.findall(mail.text)
    return str(found)


async def mails(world: World, *, to: str | None = None, about: str = "") -> list[Mail]:
    """Those that have been sent to this address, with this in the subject, once all is sent."""
    await world.background.finish(2)
    return [mail for mail in world.letters.sent if to in (None, mail.to) and about in mail.subject]


async def tokens(world: World, *, to: str = "ann@example.com", about: str = "") -> list[str]:
    """The tokens in those mails."""
    return [token_in(mail) for mail in await mails(world, to=to, about=about)]
