"""Telling: once for each fact, in the commit of what it tells of, and to nobody who does not want it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from tests.domains.conftest import World
from tests.mail.postoffice import PostOffice, always, at_first, opened

from fortress.bootstrap.assembly import Assembly
from fortress.data.partitions import partitioned
from fortress.domains import standard
from fortress.domains.notifications.contract import Notifications
from fortress.domains.notifications.service import Digests, NotificationRecords, PreferenceService, Sender
from fortress.domains.notifications.service.sending_jobs import send_notification
from fortress.domains.notifications.service.wishes import due
from fortress.mail import Delivery, Kinds, MailDelayed, Mailer, NotificationData, NotificationKind, SmtpMailer, Templates
from fortress.mail.smtp import SmtpTimes
from fortress.security import SYSTEM


class Placed(NotificationData, frozen=True):
    """An order."""

    number: str


PLACED = NotificationKind("orders.placed", "Your orders", Placed("A-1"))
CODE = NotificationKind("orders.code", "A code", Placed("A-1"), security=True, secret=True, good_for=timedelta(hours=1))


@pytest.fixture
def shop(world: World, tmp_path: Path) -> World:
    """The built-in domains, and a shop that tells people of orders."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "placed.en.txt").write_text("Subject: Order {{ number }}\n\nThank you, {{ name or 'friend' }}: {{ number }}.\n")
    (folder / "placed.de.txt").write_text("Subject: Bestellung {{ number }}\n\nDanke.\n")
    (folder / "code.en.txt").write_text("Subject: A code\n\n{{ number }}\n")
    assembly = world.assembly
    kinds = Kinds([*((kind.domain, kind) for kind in assembly.kinds.values()), ("orders", PLACED), ("orders", CODE)])
    given = {"site": "The Shop", "origin": "", "account_url": ""}
    world.container.add(Kinds, kinds)
    world.container.add(Templates, Templates({**assembly.template_folders(), "orders": folder}, None, given))
    return world


async def tell(world: World, person: UUID, number: str, once: str | None = None) -> None:
    async with world.database.unit(SYSTEM) as unit:
        await world.get(Notifications).tell(unit, person, PLACED, Placed(number), once=once)


async def ann(world: World) -> UUID:
    person = await world.somebody()
    world.letters.sent.clear()
    return person


async def jobs(world: World) -> list[asyncpg.Record]:
    return await world.owner.fetch("SELECT task_name, args, priority FROM procrastinate_jobs ORDER BY id")


async def states(world: World) -> list[str]:
    rows = await world.owner.fetch("SELECT mail FROM notifications WHERE kind = 'orders.placed'")
    # Time stands still here, so what was told first can't be seen.
    return sorted(row["mail"] for row in rows)


async def test_a_mail_follows_the_commit(shop: World) -> None:
    person = await ann(shop)
    await tell(shop, person, "A-7")
    assert shop.letters.sent == []
    await shop.posted()
    (mail,) = shop.letters.sent
    assert (mail.to, mail.subject, mail.text) == ("ann@example.com", "Order A-7", "Thank you, friend: A-7.\n")
    assert "<p>Thank you" in mail.html
    assert await states(shop) == ["sent"]
    await shop.posted()
    assert len(shop.letters.sent) == 1


async def test_nothing_is_told_of_what_was_rolled_back(shop: World) -> None:
    person = await ann(shop)
    before = len(await jobs(shop))

    async def fail() -> None:
        async with shop.database.unit(SYSTEM) as unit:
            await shop.get(Notifications).tell(unit, person, PLACED, Placed("A-7"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await states(shop) == []
    assert len(await jobs(shop)) == before


async def test_for_one_fact_a_person_is_told_once(shop: World) -> None:
    person = await ann(shop)
    await asyncio.gather(*(tell(shop, person, "A-7", once="a fact") for _ in range(5)))
    await tell(shop, person, "A-7", once="a fact")
    await tell(shop, person, "A-7", once="another fact")
    await shop.posted()
    assert len(shop.letters.sent) == 2


async def test_queue_and_tables_hold_nothing_that_can_be_read(shop: World) -> None:
    """SEC002: neither whose it is by name, nor what it says, nor a token; what is secret is forgotten once it is out."""
    person = await ann(shop)
    async with shop.database.unit(SYSTEM) as unit:
        await shop.get(Notifications).tell(unit, person, CODE, Placed("MARKER"), to="marker@example.com")
    kept = str(await jobs(shop)) + str(await shop.owner.fetch("SELECT notifications::text FROM notifications"))
    assert [marker for marker in ("MARKER", "marker@", "ann@") if marker in kept or marker.encode().hex() in kept] == []
    await shop.posted()
    assert (shop.letters.sent[-1].to, shop.letters.sent[-1].text) == ("marker@example.com", "MARKER\n")
    row = await shop.owner.fetchrow("SELECT data, address, mail FROM notifications WHERE kind = 'orders.code'")
    assert row is not None
    assert (row["data"], row["address"], row["mail"]) == (None, None, "sent")


async def test_what_is_good_for_an_hour_is_not_sent_later(shop: World) -> None:
    person = await ann(shop)
    async with shop.database.unit(SYSTEM) as unit:
        await shop.get(Notifications).tell(unit, person, CODE, Placed("A"))
    shop.clock.advance(timedelta(hours=1))
    await shop.posted()
    assert shop.letters.sent == []


async def test_who_switched_it_off_gets_none_and_finds_it_in_the_list(shop: World) -> None:
    person = await ann(shop)
    await shop.get(PreferenceService).choose("de", {"orders.placed": Delivery.OFF}, await shop.caller(person))
    await tell(shop, person, "A-7")
    await shop.posted()
    assert (shop.letters.sent, await states(shop)) == ([], ["none"])
    assert "Bestellung A-7" in str(await shop.get(NotificationRecords).export(person))


async def test_a_mail_is_in_the_language_that_was_chosen(shop: World) -> None:
    person = await ann(shop)
    await shop.get(PreferenceService).choose("de", {}, await shop.caller(person))
    await tell(shop, person, "A-7")
    await shop.posted()
    assert [mail.subject for mail in shop.letters.sent] == ["Bestellung A-7"]


async def test_a_disabled_account_hears_of_its_safety_only(shop: World) -> None:
    person = await ann(shop)
    await shop.owner.execute("UPDATE users SET status = 'disabled'")
    await tell(shop, person, "A-7")
    async with shop.database.unit(SYSTEM) as unit:
        await shop.get(Notifications).tell(unit, person, CODE, Placed("A"))
    await shop.posted()
    assert [mail.subject for mail in shop.letters.sent] == ["A code"]


@pytest.mark.parametrize(("way", "days"), [(Delivery.DAILY, 1), (Delivery.WEEKLY, 7)])
async def test_a_digest_tells_all_at_once_and_each_once(shop: World, way: Delivery, days: int) -> None:
    person = await ann(shop)
    await shop.get(PreferenceService).choose(None, {"orders.placed": way}, await shop.caller(person))
    for number in range(53):
        await tell(shop, person, f"A-{number}")
        shop.clock.advance(timedelta(milliseconds=1))
    await shop.posted()
    assert shop.letters.sent == []
    assert await shop.get(Digests).gather_due() == 0
    shop.clock.advance(timedelta(days=days))
    # Two processes at once, and one again: each notification goes into one digest.
    made = await asyncio.gather(*(shop.get(Digests).gather_due() for _ in range(2)))
    assert sum(made) == 1
    assert await shop.get(Digests).gather_due() == 0
    await shop.posted()
    (mail,) = shop.letters.sent
    assert mail.subject == "53 things from The Shop"
    assert mail.text.index("Order A-0\n") < mail.text.index("Order A-49\n")
    assert "And 3 more." in mail.text
    assert "A-50" not in mail.text
    assert mail.unsubscribe


async def test_who_is_erased_leaves_nothing(shop: World) -> None:
    person = await ann(shop)
    await shop.get(PreferenceService).choose("de", {}, await shop.caller(person))
    await tell(shop, person, "A-7", once="a fact")
    async with shop.database.unit(SYSTEM) as unit:
        await shop.get(NotificationRecords).erase(unit, person)
    for table in ("notifications", "notification_marks", "notification_settings"):
        assert await shop.owner.fetchval(f"SELECT count(*) FROM {table}") == 0
    await shop.posted()
    assert shop.letters.sent == []


async def test_marks_are_forgotten_after_the_facts(shop: World) -> None:
    person = await ann(shop)
    await tell(shop, person, "A-7", once="a fact")
    assert await shop.get(NotificationRecords).forget_marks() == 0
    shop.clock.advance(timedelta(days=401))
    assert await shop.get(NotificationRecords).forget_marks() == 1


async def test_a_kind_that_nobody_declares_can_not_be_told_of(shop: World) -> None:
    stranger = NotificationKind("orders.stranger", "", Placed("A"))
    async with shop.database.unit(SYSTEM) as unit:
        with pytest.raises(LookupError, match="no domain declares"):
            await shop.get(Notifications).tell(unit, await ann(shop), stranger, Placed("A"))


class TestAgainstARealServer:
    """What the server says becomes what we remember."""

    async def send(self, world: World, office: PostOffice, person: UUID, number: str) -> None:
        """Tell, and send by SMTP as often as the job would, up to five times."""
        world.container.add(Mailer, SmtpMailer(f"smtp://127.0.0.1:{office.port}", "shop@example.com", SmtpTimes(reply=10.0)))
        # Made anew, with the mailer that is there now.
        world.container._made.pop(Sender, None)
        await tell(world, person, number)
        await self.work(world)

    async def work(self, world: World) -> None:
        for _ in range(5):
            for row in await world.owner.fetch("SELECT id, created_at FROM notifications WHERE mail = 'waiting'"):
                try:
                    await send_notification(row["id"], row["created_at"], world.get(Sender))
                except MailDelayed:
                    # A job's pauses grow, and no two wait alike; what is waited for is tested with the jobs.
                    continue

    async def test_greylisted_mail_arrives_once(self, shop: World) -> None:
        person = await ann(shop)
        async with opened(PostOffice()) as office:
            office.answers["RCPT"] = at_first("450 4.2.0 greylisted", times=2)
            await self.send(shop, office, person, "A-7")
        assert len(office.taken) == 1
        assert await states(shop) == ["sent"]

    async def test_an_address_that_nobody_has_is_remembered(self, shop: World) -> None:
        person = await ann(shop)
        async with opened(PostOffice()) as office:
            office.answers["RCPT"] = at_first("550 5.1.1 nobody")
            await self.send(shop, office, person, "A-7")
            assert (await states(shop), office.seen["RCPT"]) == (["refused"], 1)
            assert (await shop.get(PreferenceService).read(await shop.caller(person))).address_refused_at is not None
            await self.send(shop, office, person, "A-8")
            assert (await states(shop), office.seen["RCPT"]) == (["none", "refused"], 1), "not even asked"
            async with shop.database.unit(SYSTEM) as unit:
                await shop.get(Notifications).tell(unit, person, CODE, Placed("A"))
            await self.work(shop)
            assert len(office.taken) == 1, "what is about the account's safety is tried all the same"
            assert (await shop.get(PreferenceService).read(await shop.caller(person))).address_refused_at is None
            await self.send(shop, office, person, "A-9")
            assert len(office.taken) == 2

    async def test_a_mail_that_is_refused_says_nothing_of_the_address(self, shop: World) -> None:
        person = await ann(shop)
        async with opened(PostOffice()) as office:
            office.answers["DATA"] = always("554 5.6.0 spam")
            await self.send(shop, office, person, "A-7")
        assert (await states(shop), office.seen["DATA"]) == (["refused"], 1)
        assert (await shop.get(PreferenceService).read(await shop.caller(person))).address_refused_at is None

    async def test_a_mail_taken_in_silence_comes_again_under_the_same_id(self, shop: World) -> None:
        person = await ann(shop)
        async with opened(PostOffice()) as office:
            office.swallowing = True
            await self.send(shop, office, person, "A-7")
            office.swallowing = False
            await self.work(shop)
        contents = {taken.content for taken in office.taken}
        assert len(contents) == 1
        assert await states(shop) == ["sent"]


async def test_the_pauses_of_a_mail_reach_over_most_of_a_day() -> None:
    pauses = [send_notification.retry.pause(failures) or 0 for failures in range(1, 17)]
    assert pauses[0] <= 10
    assert 6 * 3600 < sum(pauses) < 36 * 3600
    assert send_notification.retry.pause(17) is None


async def test_a_later_second_mail_is_made_of_what_is_stored(shop: World) -> None:
    """A process that dies between the server's yes and our commit sends it again: to the byte the same."""
    person = await ann(shop)
    await tell(shop, person, "A-7")
    row = await shop.owner.fetchrow("SELECT id, created_at FROM notifications WHERE kind = 'orders.placed'")
    assert row is not None
    await shop.get(Sender).send(row["id"], row["created_at"])
    await shop.owner.execute("UPDATE notifications SET mail = 'waiting'  WHERE kind = 'orders.placed'")
    shop.clock.advance(timedelta(hours=1))
    await shop.get(Sender).send(row["id"], row["created_at"])
    first, second = shop.letters.sent
    assert first == second
    assert (first.id, first.at) == (row["id"], row["created_at"])


def test_old_months_are_dropped_and_not_deleted() -> None:
    """DATA006."""
    (told,) = [one for one in partitioned(Assembly(standard, current=1).tables()) if one.table == "notifications"]
    assert (told.column, told.keep_months) == ("created_at", 13)


@pytest.mark.parametrize(
    ("way", "now", "then"),
    [
        (Delivery.DAILY, datetime(2026, 11, 23, 5, 59, tzinfo=UTC), datetime(2026, 11, 23, 6, tzinfo=UTC)),
        (Delivery.DAILY, datetime(2026, 11, 23, 6, tzinfo=UTC), datetime(2026, 11, 24, 6, tzinfo=UTC)),
        (Delivery.WEEKLY, datetime(2026, 11, 23, 5, tzinfo=UTC), datetime(2026, 11, 23, 6, tzinfo=UTC)),
        (Delivery.WEEKLY, datetime(2026, 11, 23, 6, tzinfo=UTC), datetime(2026, 11, 30, 6, tzinfo=UTC)),
        (Delivery.WEEKLY, datetime(2026, 11, 28, 12, tzinfo=UTC), datetime(2026, 11, 30, 6, tzinfo=UTC)),
    ],
    ids=["before six", "at six", "monday before six", "monday at six", "saturday"],
)
def test_a_digest_is_due_at_six(way: Delivery, now: datetime, then: datetime) -> None:
    assert due(way, now) == then
