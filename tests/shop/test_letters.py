"""Buyers are told of their orders, in the application as it runs: by mail, in their list, and as they chose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import UUID

import pytest
from tests.domains.identity.mailbox import outbox, post

from fortress import Fortress
from fortress.data import Database
from fortress.domains import Notifications
from fortress.mail import OUTBOX, Outbox
from fortress.security import SYSTEM
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Caller, Client
from shop.orders.events import OrderCancelled, OrderPlaced
from shop.orders.handlers import confirm, regret

ORDER = UUID("01890000-0000-7000-8000-000000000001")


class Buyer:
    """Somebody who is told of orders."""

    def __init__(self, app: Fortress, client: Client, me: Caller, settings: Settings) -> None:
        self.app, self.client, self.me, self.settings = app, client, me, settings

    async def hears(self, fact: OrderPlaced | OrderCancelled) -> None:
        """The fact reaches the shop's subscribers, as often as this is called."""
        assert self.app.runtime is not None
        services = self.app.runtime.container
        handler = confirm if isinstance(fact, OrderPlaced) else regret
        async with services.get(Database).unit(SYSTEM) as unit:
            await handler.run(fact, unit, services.get(Notifications))
        await post(self.app)

    def mails(self) -> list[str]:
        """The subjects of their mails about orders."""
        return [mail.subject for mail in outbox(self.settings.state_dir) if mail.to == self.me.email and "rder" in mail.subject + mail.text]

    def placed(self, order: UUID = ORDER) -> OrderPlaced:
        return OrderPlaced(order_id=order, buyer_id=UUID(str(self.me.id)), total=Decimal("27.00"))


@pytest.fixture
async def buyer(running: Fortress, client: Client, callers: Callers, settings: Settings) -> Buyer:
    return Buyer(running, client, await callers.person("ann"), settings)


async def test_an_order_is_confirmed_once(buyer: Buyer) -> None:
    for _ in range(2):
        await buyer.hears(buyer.placed())
    assert buyer.mails() == ["Thank you for your order at Fortress"]
    await buyer.hears(OrderCancelled(order_id=ORDER, buyer_id=UUID(str(buyer.me.id))))
    assert len(buyer.mails()) == 2


async def test_who_places_an_order_gets_a_mail(buyer: Buyer, settle: Callable[[], Awaitable[None]]) -> None:
    """From the route to the outbox: the order, its fact, the shop's subscriber, the row, the job."""
    placed = await buyer.client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 2}]}, as_=buyer.me)
    await settle()
    (mail,) = [mail for mail in outbox(buyer.settings.state_dir) if "your order" in mail.subject]
    assert mail.to == buyer.me.email
    assert placed.json()["id"] in mail.text
    assert "13.00 EUR" in mail.text


async def test_the_list_tells_of_it_until_it_is_read(buyer: Buyer, callers: Callers) -> None:
    await buyer.hears(buyer.placed())
    eve = await callers.person("eve")
    (told,) = (await buyer.client.get("/notifications?unread=true", as_=buyer.me)).json()["items"]
    assert (told["kind"], told["subject"], told["read_at"]) == ("orders.placed", "Thank you for your order at Fortress", None)
    assert "27.00" in told["text"]
    path = f"/notifications/{told['id']}"
    assert (await buyer.client.patch(path, {"read": True}, as_=eve)).status == 404
    assert (await buyer.client.patch(path, {"read": True}, as_=buyer.me)).json()["read_at"]
    assert (await buyer.client.get("/notifications?unread=true", as_=buyer.me)).json()["items"] == []
    assert (await buyer.client.patch(path, {"read": False}, as_=buyer.me)).json()["read_at"] is None
    assert (await buyer.client.patch("/notifications", {"read_until": told["created_at"]}, as_=buyer.me)).status == 204
    assert (await buyer.client.get("/notifications?unread=true", as_=buyer.me)).json()["items"] == []
    assert (await buyer.client.get("/notifications", as_=eve)).json()["items"] == []


async def test_how_one_is_told_is_chosen(buyer: Buyer) -> None:
    path = "/users/me/notifications/preferences"
    usual = (await buyer.client.get(path, as_=buyer.me)).json()
    kinds = ("orders.placed", "orders.cancelled", "webhooks.disabled")
    assert {one["kind"]: one["delivery"] for one in usual["kinds"]} == dict.fromkeys(kinds, "immediate")
    chosen = await buyer.client.put(path, {"locale": "de", "delivery": {"orders.cancelled": "off"}}, as_=buyer.me)
    assert chosen.status == 200
    assert (await buyer.client.get(path, as_=buyer.me)).json() == chosen.json()
    await buyer.hears(buyer.placed())
    await buyer.hears(OrderCancelled(order_id=ORDER, buyer_id=UUID(str(buyer.me.id))))
    mails = [mail for mail in outbox(buyer.settings.state_dir) if "Bestellung" in mail.subject]
    assert [mail.subject for mail in mails] == ["Danke für Ihre Bestellung bei Fortress"]


@pytest.mark.parametrize(
    "body",
    [
        {"locale": None, "delivery": {"identity.password_changed": "off"}},
        {"locale": None, "delivery": {"identity.forgotten_password": "off"}},
        {"locale": None, "delivery": {"nobody.knows": "off"}},
        {"locale": "tlh", "delivery": {}},
        {"locale": None, "delivery": {"orders.placed": "never"}},
    ],
    ids=["security", "secret", "unknown", "language", "way"],
)
async def test_what_can_not_be_chosen_is_refused(buyer: Buyer, body: dict[str, object]) -> None:
    assert (await buyer.client.put("/users/me/notifications/preferences", body, as_=buyer.me)).status == 422


async def test_one_click_ends_them_without_signing_in(buyer: Buyer) -> None:
    """RFC 8058: the link is in the mail's header; a GET, which programs do by themselves, changes nothing."""
    await buyer.hears(buyer.placed())
    headers = [dict(mail.headers) for mail in Outbox(buyer.settings.state_dir / OUTBOX).mails()]
    (link,) = [one["List-Unsubscribe"].strip("<>") for one in headers if "List-Unsubscribe" in one]
    path = link.partition("/api/v1")[2]
    page = await buyer.client.get(path)
    assert (page.status, b"<form" in page.body) == (200, True)
    await buyer.hears(buyer.placed(UUID(int=ORDER.int + 1)))
    assert len(buyer.mails()) == 2
    assert (await buyer.client.post(path)).status == 200
    assert (await buyer.client.post(path)).status == 200
    await buyer.hears(buyer.placed(UUID(int=ORDER.int + 2)))
    assert len(buyer.mails()) == 2
    assert (await buyer.client.post(path[:-4] + "AAAA")).status == 422
    assert b"<script" not in (await buyer.client.get("/notifications/unsubscribe/%22%3E%3Cscript%3E")).body
