"""A real SMTP server that does as a test tells it: takes mail, refuses it, wants it later, stalls, or hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

Say = Callable[[int], str | None]


def always(answer: str) -> Say:
    return lambda _: answer


def at_first(answer: str, times: int = 1) -> Say:
    """This answer so many times, and then none of its own."""
    return lambda number: answer if number <= times else None


class PostOffice:
    """What the server does; each answer is given the number of the time, from 1.

    Attributes:
        taken: the messages that it has said yes to.
        stalled: set while it keeps somebody waiting.
        silent, dropping: stages (`mail`, `rcpt`, `data`) at which it never answers, or closes the connection.
        swallowing: it takes the message, and closes the connection without a word.
    """

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.answers: dict[str, Say] = {}
        self.silent: set[str] = set()
        self.dropping: set[str] = set()
        self.swallowing = False
        self.seen = {"MAIL": 0, "RCPT": 0, "DATA": 0}
        self.port = 0

    async def handle_MAIL(self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        answer = await self._said("MAIL", server)
        if answer is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer or "250 OK"

    async def handle_RCPT(self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:  # noqa: N802
        answer = await self._said("RCPT", server)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await self._said("DATA", server)
        if answer is None:
            self.taken.append(envelope)
        if self.swallowing:
            self._hang_up(server)
        return answer or "250 OK"

    async def _said(self, stage: str, server: SMTP) -> str | None:
        self.seen[stage] += 1
        if stage in self.silent:
            await asyncio.Event().wait()
        if stage in self.dropping:
            self._hang_up(server)
        say = self.answers.get(stage)
        return say(self.seen[stage]) if say else None

    def _hang_up(self, server: SMTP) -> None:
        assert isinstance(server.transport, asyncio.WriteTransport)
        server.transport.abort()


@asynccontextmanager
async def opened(office: PostOffice, **options: Any) -> AsyncIterator[PostOffice]:
    """The server, on a port of its own."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(office, loop=loop, enable_SMTPUTF8=True, **options), "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()
