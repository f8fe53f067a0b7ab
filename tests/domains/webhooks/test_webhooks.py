"""Webhooks on a real database, to a receiver on a real socket that behaves as badly as receivers do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from tests.domains.conftest import NOON, World
from tests.outward.receiver import Behaviour, Receiver, endless_body, hanging_up, receiving, saying, silence

from fortress.data import PageQuery
from fortress.domains.access.service import AccessService
from fortress.domains.identity.events import UserDisabled, UserEnabled
from fortress.domains.webhooks.contract import OwnFactsOnly, TooManyWebhooks, WebhookOff
from fortress.domains.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState
from fortress.domains.webhooks.repository import Listener
from fortress.domains.webhooks.service import Courier, DeliveryService, FanOut, Post, WebhookRecords, WebhookService
from fortress.domains.webhooks.service.managing import WebhookChange, WebhookWish
from fortress.domains.webhooks.service.signing import shown
from fortress.errors import Invalid, NotFound
from fortress.events import Event
from fortress.fact import Fact
from fortress.outward import Outward
from fortress.security import SYSTEM, Principal, Reach
from fortress.settings import Settings
from fortress.testing.jobs import Jobs
from fortress.testing.subscribers import Subscribers

ADMIN = "admin"
PAST_ALL = timedelta(minutes=10)


class Books:
    """A world with a person who has webhooks, and what makes it turn."""

    def __init__(self, world: World, receiver: Receiver, owner: Principal) -> None:
        self.world, self.receiver, self.owner = world, receiver, owner
        self.hooks, self.log = world.get(WebhookService), world.get(DeliveryService)
        assembly = world.assembly
        self.jobs = Jobs(assembly.jobs, lambda: world.container)
        subscribers = [one for domain in assembly.domains if domain.name == "webhooks" for one in domain.subscribers()]
        self.subscribers = Subscribers(subscribers, assembly.facts, lambda: world.container)

    async def hook(self, *facts: str, everyone: bool = True, by: Principal | None = None) -> Webhook:
        return await self.hooks.make(WebhookWish("Books", self.receiver.url, list(facts) or ["*"], everyone), by or self.owner)

    async def happen(self, *facts: Fact, by: Principal = SYSTEM) -> None:
        async with self.world.database.unit(by) as unit:
            for fact in facts:
                unit.record(fact)

    async def turn(self, later: timedelta = timedelta(0)) -> None:
        """Let this time go by, and do all that is due then."""
        self.world.clock.advance(later)
        await self.subscribers.settle()
        await self.jobs.settle()

    async def sent(self, hook: Webhook) -> list[Delivery]:
        return list((await self.log.recent(hook.id, PageQuery(limit=100), self.owner)).items)

    async def state(self, hook: Webhook) -> tuple[WebhookState, str | None]:
        now = await self.hooks.read(hook.id, self.owner)
        return now.state, now.reason


def settings(world: World) -> Settings:
    return world.settings.model_copy(update={"webhook_networks": (ip_network("127.0.0.0/8"),)})


@pytest.fixture
async def books(world: World) -> AsyncIterator[Books]:
    world.container.add(Post, Post(settings(world)))
    owner = await world.caller(await world.somebody("ann@example.com", ADMIN))
    async with receiving(saying(200, body=b"thanks")) as receiver:
        made = Books(world, receiver, owner)
        await made.subscribers.begin()
        yield made


async def test_what_happens_is_sent_signed_and_written_down(books: Books) -> None:
    hook, person = await books.hook("UserDisabled"), UUID(int=9)
    await books.happen(UserDisabled(user_id=person), UserEnabled(user_id=person))
    await books.turn()
    ((headers, body),) = books.receiver.requests
    # The clock of the test stands at the full hour, and the library looks at the real one.
    signature = Verifier(shown(hook.secret)).sign(headers["webhook-id"], books.world.clock.now(), body.decode())
    assert headers["webhook-signature"] == signature
    assert headers["content-type"] == "application/json"
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("UserDisabled", {"user_id": str(person)})
    assert set(told) == {"type", "timestamp", "data"}
    (delivery,) = await books.sent(hook)
    assert delivery.state is DeliveryState.DELIVERED
    assert [(one.status, one.excerpt) for one in delivery.attempts] == [(200, "thanks")]
    assert headers["webhook-id"] == str(delivery.event_id)


async def test_a_fact_that_is_heard_again_is_sent_once(books: Books) -> None:
    await books.happen(UserDisabled(user_id=UUID(int=8)))
    books.world.clock.advance(timedelta(seconds=1))
    hook = await books.hook("*")
    await books.happen(UserDisabled(user_id=UUID(int=9)))
    await books.turn()
    # As `fortress events replay` does.
    await books.world.owner.execute("UPDATE subscriber_lanes SET tx = '0', seq = 0")
    await books.turn()
    assert len(await books.sent(hook)) == 1
    assert len(books.receiver.requests) == 1


async def test_one_hears_what_one_does_and_only_who_may_what_all_do(books: Books) -> None:
    world = books.world
    bob = (await world.caller(await world.somebody("bob@example.com", ADMIN))).reaching(Reach.OWN)
    with pytest.raises(OwnFactsOnly):
        await books.hook("*", by=bob)
    hook = await books.hook("UserDisabled", everyone=False, by=bob)
    await books.happen(UserDisabled(user_id=UUID(int=1)), by=books.owner)
    await books.happen(UserDisabled(user_id=UUID(int=2)), by=bob)
    await books.turn()
    assert [json.loads(body)["data"]["user_id"] for _, body in books.receiver.requests] == [str(UUID(int=2))]
    for reading in (books.hooks.read(hook.id, books.owner.reaching(Reach.OWN)), books.log.test(hook.id, books.owner.reaching(Reach.OWN))):
        with pytest.raises(NotFound):
            await reading


async def test_who_may_not_hear_any_more_hears_nothing(books: Books) -> None:
    """What is asked is what the owner holds when it is sent."""
    world = books.world
    bob = await world.caller(await world.somebody("bob@example.com", ADMIN))
    hook = await books.hook("UserDisabled", by=bob)
    access = world.get(AccessService)
    await access.replace_roles(bob.id, access.given_to_everyone(), SYSTEM)
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    await books.turn()
    assert books.receiver.requests == []
    assert await books.state(hook) == (WebhookState.DISABLED, "not_allowed")
    assert [one.state for one in await books.sent(hook)] == [DeliveryState.FAILED]


@pytest.mark.parametrize(
    ("behaviour", "status", "fault"),
    [
        (saying(500, body=b"Traceback"), 500, None),
        (saying(302, "location: http://169.254.169.254/"), 302, None),
        (hanging_up, None, "broken_answer"),
        (silence, None, "too_slow"),
    ],
    ids=["error", "redirect", "hanging_up", "silence"],
)
async def test_what_was_not_taken_is_tried_again(books: Books, behaviour: Behaviour, status: int | None, fault: str | None) -> None:
    books.world.get(Post).outward = Outward(settings(books.world).webhook_networks, plain=True, seconds=0.5)
    hook = await books.hook("UserDisabled")
    books.receiver.behaviour = behaviour
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    await books.turn()
    (delivery,) = await books.sent(hook)
    assert delivery.state is DeliveryState.WAITING
    assert [(one.status, one.fault) for one in delivery.attempts] == [(status, fault)]
    books.receiver.behaviour = endless_body
    await books.turn(PAST_ALL)
    (delivery,) = await books.sent(hook)
    assert delivery.state is DeliveryState.DELIVERED
    assert len({headers["webhook-id"] for headers, _ in books.receiver.requests}) == 1


async def test_a_receiver_that_wants_time_gets_it(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    books.receiver.behaviour = saying(429, "retry-after: 3600")
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    await books.turn()
    await books.turn(timedelta(minutes=59))
    assert len(books.receiver.requests) == 1
    await books.turn(timedelta(minutes=20))
    assert len(books.receiver.requests) == 2
    assert len((await books.sent(hook))[0].attempts) == 2


async def test_a_receiver_that_is_gone_gets_nothing_more_and_its_owner_is_told(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    books.receiver.behaviour = saying(410)
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    await books.turn()
    assert await books.state(hook) == (WebhookState.DISABLED, "gone")
    await books.happen(UserDisabled(user_id=UUID(int=2)))
    await books.turn(PAST_ALL)
    assert len(books.receiver.requests) == 1
    assert [mail.subject for mail in books.world.letters.sent][-1] == "Your webhook Books is disabled"
    facts = await books.world.owner.fetchval("SELECT payload FROM events WHERE name = 'WebhookDisabled'")
    assert json.loads(facts) == {"webhook_id": str(hook.id), "reason": "gone"}
    with pytest.raises(WebhookOff):
        await books.log.test(hook.id, books.owner)


async def test_a_failing_receiver_is_left_alone_then_tried_with_one_delivery(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    books.receiver.behaviour = saying(503)
    await books.happen(*(UserDisabled(user_id=UUID(int=number)) for number in range(1, 9)))
    await books.turn()
    assert (await books.state(hook))[0] is WebhookState.PAUSED
    # Five failed; the other three were not even tried.
    assert len(books.receiver.requests) == 5
    await books.turn(timedelta(minutes=2))
    # One tried whether it is back.
    assert len(books.receiver.requests) == 6
    books.receiver.behaviour = saying(200)
    for _ in range(8):
        await books.turn(PAST_ALL)
    assert await books.state(hook) == (WebhookState.ACTIVE, None)
    assert {one.state for one in await books.sent(hook)} == {DeliveryState.DELIVERED}


async def test_a_delivery_that_is_never_taken_fails_and_can_be_sent_again(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    books.receiver.behaviour = saying(400)
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    for _ in range(40):
        await books.turn(timedelta(hours=6))
    (delivery,) = await books.sent(hook)
    assert (delivery.state, delivery.tries) == (DeliveryState.FAILED, 10)
    books.receiver.behaviour = saying(204)
    if (await books.state(hook))[0] is WebhookState.DISABLED:
        await books.hooks.change(hook.id, WebhookChange(None, None, None, True), books.owner)
    await books.log.redeliver(hook.id, delivery.id, books.owner)
    await books.turn(PAST_ALL)
    again = await books.log.read(hook.id, delivery.id, books.owner)
    assert (again.state, again.event_id) == (DeliveryState.DELIVERED, delivery.event_id)


async def test_a_job_that_runs_twice_sends_once(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    await books.subscribers.settle()
    (waiting,) = await books.sent(hook)
    courier = books.world.get(Courier)
    for _ in range(2):
        await courier.deliver(waiting.id, waiting.created_at, waiting.version)
    assert len(books.receiver.requests) == 1


async def test_a_new_secret_overlaps_with_the_old_one(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    rotated = await books.hooks.rotate(hook.id, timedelta(hours=1), books.owner)
    for signatures, later in ((2, timedelta(0)), (1, timedelta(hours=1))):
        books.world.clock.advance(later)
        await books.log.test(hook.id, books.owner)
        await books.turn()
        headers, body = books.receiver.requests[-1]
        keys = [rotated.secret, hook.secret][:signatures]
        at = books.world.clock.now()
        wanted = " ".join(Verifier(shown(key)).sign(headers["webhook-id"], at, body.decode()) for key in keys)
        assert headers["webhook-signature"] == wanted
        assert json.loads(body)["type"] == "WebhookTest"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.2.nip:0/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "http://10.0.0.1/",
        "https://user@example.com/",
    ],
)
async def test_a_url_that_nothing_is_sent_to_is_refused_at_once(books: Books, url: str) -> None:
    if url == "http://example.com/":
        # A name without TLS could be anybody's by the time it is asked: read, and never connected to.
        hook = await books.hooks.make(WebhookWish("x", url, ["*"], False), books.owner)
        assert hook.url == url
        return
    with pytest.raises(Invalid):
        await books.hooks.make(WebhookWish("x", url, ["*"], False), books.owner)


async def test_production_takes_no_url_without_tls(books: Books) -> None:
    books.world.get(Post).outward = Outward(settings(books.world).webhook_networks)
    with pytest.raises(Invalid):
        await books.hook()


async def test_a_person_has_a_bounded_number(books: Books) -> None:
    for _ in range(20):
        await books.hook("UserDisabled", everyone=False)
    with pytest.raises(TooManyWebhooks):
        await books.hook("UserDisabled", everyone=False)


async def test_tables_queue_and_logs_hold_neither_secret_nor_url(books: Books) -> None:
    """SEC002, SEC003: what is worth something to others is encrypted by the owner's key."""
    hook = await books.hook("UserDisabled")
    await books.happen(UserDisabled(user_id=UUID(int=1)))
    await books.subscribers.settle()
    owner = books.world.owner
    kept = str(await owner.fetch("SELECT webhooks::text FROM webhooks")) + str(await owner.fetch("SELECT args FROM procrastinate_jobs"))
    kept += str(await owner.fetch("SELECT webhook_deliveries::text FROM webhook_deliveries"))
    kept += str(await owner.fetch("SELECT detail FROM audit_log"))
    markers = (hook.secret.hex(), shown(hook.secret), "MARKER", b"MARKER".hex())
    assert [marker for marker in markers if marker in kept] == []


async def test_what_is_kept_of_a_person_is_handed_out_and_forgotten(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    await books.log.test(hook.id, books.owner)
    await books.turn()
    records = books.world.get(WebhookRecords)
    kept: Any = await records.export(books.owner.id)
    assert (kept["webhooks"][0].url, kept["webhook_deliveries"][0].fact) == (books.receiver.url, "WebhookTest")
    async with books.world.database.unit(SYSTEM) as unit:
        await records.erase(unit, books.owner.id)
    assert await records.export(books.owner.id) == {"webhooks": [], "webhook_deliveries": []}


async def test_a_webhook_that_went_takes_its_deliveries_along(books: Books) -> None:
    hook = await books.hook("UserDisabled")
    async with books.world.database.unit(SYSTEM) as unit:
        await books.world.get(FanOut).test(unit, Listener(hook.id, hook.user_id))
    await books.hooks.remove(hook.id, books.owner)
    await books.turn()
    assert books.receiver.requests == []
    assert await books.world.owner.fetchval("SELECT state FROM webhook_deliveries") == "failed"


async def test_a_fact_that_nobody_declares_can_not_be_subscribed_to(books: Books) -> None:
    with pytest.raises(Invalid) as refused:
        await books.hook("UserDisabled", "UserDisbaled")
    (fault,) = refused.value.errors
    assert (fault.field, fault.code) == ("/facts/1", "webhooks.unknown_fact")
    assert "UserDisabled" in fault.message
    hook = await books.hook("*")
    with pytest.raises(Invalid):
        await books.hooks.change(hook.id, WebhookChange(None, None, ["Nothing"], None), books.owner)
    assert (await books.hooks.read(hook.id, books.owner)).facts == ["*"]


async def test_a_batch_of_facts_that_nobody_hears_costs_one_question(books: Books) -> None:
    hook = await books.hook("UserEnabled")
    fan_out, event = books.world.get(FanOut), UUID(int=1)
    for name, questions in (("UserDisabled", 1), ("UserEnabled", 1 + 3 * 3)):
        facts = [Event(event, NOON, name, 1, event, event, None, 1, 1, UserDisabled(user_id=event)) for _ in range(3)]
        with books.world.database.counting() as count:
            async with books.world.database.unit(SYSTEM) as unit:
                for fact in facts:
                    await fan_out.hear(fact, unit)
        assert count.round_trips <= questions + 2
    assert hook.state is WebhookState.ACTIVE
