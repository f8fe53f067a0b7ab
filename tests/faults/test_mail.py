"""Mail on a real server with a real mail server behind: greylisted, and killed between its yes and our commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from email import message_from_bytes
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest
from tests.faults.harness.serving import Server
from tests.mail.postoffice import PostOffice, at_first, opened

from fortress.testing.callers import PASSWORD
from fortress.testing.live import LiveClient

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

# What a worker that was killed had is taken back when it has been silent for a while, and what is tried again waits: both are made to come.
HASTEN: Final = """
UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id IN (SELECT worker_id FROM procrastinate_jobs);
UPDATE procrastinate_jobs SET scheduled_at = now() WHERE scheduled_at > now() AND task_name LIKE 'notifications.send%'"""


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    async with opened(PostOffice()) as made:
        yield made


async def until(owner: Connection, so: Callable[[list[str]], bool]) -> None:
    """Wait until this is so of the states of all mails, hastening what waits."""
    async with asyncio.timeout(60):
        while not so([row["mail"] for row in await owner.fetch("SELECT mail FROM notifications")]):
            await owner.execute(HASTEN)
            await asyncio.sleep(0.1)


@pytest.fixture
async def server(serve: Callable[..., Server], office: PostOffice) -> Server:
    """One worker, which dies whenever a mail was taken."""
    options = {"workers": 1, "jobs_grace": 1, "mail_url": f"smtp://127.0.0.1:{office.port}", "failpoint": "notifications.mail_taken:kill"}
    return await asyncio.to_thread(lambda: serve(**options))


async def test_a_mail_is_sent_again_as_the_same_one_and_then_no_more(server: Server, owner: Connection, office: PostOffice) -> None:
    """JOB001. Nobody can know of the first; whoever delivers them can tell that they are one."""
    office.answers["RCPT"] = at_first("450 4.2.0 greylisted")
    async with LiveClient(server.port) as client:
        assert (await client.post("/users", {"email": "ann@example.com", "password": PASSWORD, "age": 30})).status == 201
    await until(owner, lambda _: len(office.taken) >= 1)
    await asyncio.to_thread(server.kill9)
    assert await owner.fetchval("SELECT count(*) FROM notifications WHERE mail = 'waiting'") == 1
    server.settings["failpoint"] = ""
    first = len(office.taken)
    await asyncio.to_thread(server.start)
    await until(owner, lambda states: states == ["sent"])
    contents = {taken.content for taken in office.taken}
    assert len(office.taken) > first
    (content,) = contents
    assert isinstance(content, bytes)
    assert message_from_bytes(content)["Message-ID"]
    assert office.seen["RCPT"] == len(office.taken) + 1
    assert not [line for line in server.log_lines() if "ann@example.com" in str(line)]
