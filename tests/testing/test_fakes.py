"""The stand-ins do what the real things do, and tell the test."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from fortress.mail import Mail
from fortress.testing.databases import Databases
from fortress.testing.fakes import CountingIds, RecordingMailer


def a_mail(subject: str) -> Mail:
    return Mail("ann@example.com", subject, "…")


async def test_the_next_mail_is_waited_for() -> None:
    mailer = RecordingMailer()
    waiting = asyncio.create_task(mailer.next())
    await mailer.send(a_mail("one"))
    assert (await waiting).subject == "one"
    await mailer.send(a_mail("two"))
    assert (await mailer.next()).subject == "two"
    assert [mail.subject for mail in mailer.sent] == ["one", "two"]


async def test_a_mail_is_the_next_one_only_once() -> None:
    mailer = RecordingMailer()
    await mailer.send(a_mail("one"))
    await mailer.next()
    with pytest.raises(TimeoutError):
        await mailer.next(seconds=0.01)


async def test_mails_that_came_together_are_given_one_by_one() -> None:
    mailer = RecordingMailer()
    await mailer.send(a_mail("one"))
    await mailer.send(a_mail("two"))
    assert [(await mailer.next()).subject for _ in range(2)] == ["one", "two"]


def test_ids_count_up_and_look_like_real_ones() -> None:
    ids = CountingIds()
    made = [ids.new() for _ in range(3)]
    assert made == sorted(made)
    assert made[0] == CountingIds().new()
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}


async def test_a_database_that_is_no_tests_is_never_dropped() -> None:
    with pytest.raises(ValueError, match="not a test's"):
        await Databases("postgresql://nobody@127.0.0.1:1/postgres").drop("customers")


async def test_a_clone_is_like_its_template_and_gone_after_its_block(databases: Databases) -> None:
    async def migrate(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        await connection.close()

    template = await databases.template(migrate)
    async with databases.clone(template) as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT n FROM t") == 7
        await connection.close()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)
    await databases.drop(template)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("postgresql://postgres@127.0.0.1:5432/postgres", "postgresql://postgres@127.0.0.1:5432/x"),
        ("postgresql://fortress@/postgres?host=/run/db", "postgresql://fortress@/x?host=/run/db"),
    ],
)
def test_a_databases_url_keeps_how_its_server_is_reached(server: str, url: str) -> None:
    assert Databases(server).url("x") == url
