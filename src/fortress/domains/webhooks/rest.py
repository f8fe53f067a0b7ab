"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from fortress.data import Page, PageQuery
from fortress.data.entity import shape_of
from fortress.domains.webhooks.contract import OwnFactsOnly, TooManyWebhooks, WebhookOff, WebhooksNotInstalled
from fortress.domains.webhooks.models import NAME_LENGTH, Delivery, Webhook
from fortress.domains.webhooks.policy import READ, WRITE
from fortress.domains.webhooks.service import DeliveryService, WebhookService
from fortress.domains.webhooks.service.managing import WebhookChange, WebhookWish
from fortress.domains.webhooks.service.views import (
    DeliveryView,
    NewWebhookView,
    WebhookView,
    delivery_view,
    new_webhook_view,
    webhook_view,
)
from fortress.errors import StaleVersion
from fortress.http import Accepted, Created, Input, delete, get, patch, per_minute, post, strict
from fortress.security import Principal

DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168
_UnknownWebhook: Final = shape_of(Webhook).missing
_UnknownDelivery: Final = shape_of(Delivery).missing
_HIDDEN: Final = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=rf"^[^\s{_HIDDEN}]([^{_HIDDEN}]*[^\s{_HIDDEN}])?$")]
Url = Annotated[str, Field(min_length=9, max_length=2000, pattern=r"^https?://[!-~]+$", description="https, at a public address")]
Facts = Annotated[list[Annotated[str, Field(max_length=100, pattern=r"^(\*|[A-Z][A-Za-z0-9]*)$")]], Field(min_length=1, max_length=100)]


class MakeWebhook(Input):
    """Where facts are to be sent, and which: by name, or `*` for all. `everyone`: not only what one does oneself."""

    name: Name
    url: Url
    facts: Facts
    everyone: bool = False


class ChangeWebhook(Input):
    """Another name, URL or list of facts, or whether anything is sent; what is left out stays."""

    name: Name | None = None
    url: Url | None = None
    facts: Facts | None = None
    active: bool | None = None


class RotateSecret(Input):
    """For how many hours deliveries carry the old secret's signature too."""

    overlap_hours: Annotated[int, Field(ge=0, le=WEEK_HOURS)] = DAY_HOURS


@post(
    "/webhooks",
    allow=WRITE,
    limit=strict(per_minute(30)),
    errors=[OwnFactsOnly, TooManyWebhooks, WebhooksNotInstalled],
)
async def make_webhook(data: MakeWebhook, webhooks: WebhookService, principal: Principal) -> Created[NewWebhookView]:
    """Have facts sent to another system; the secret by which it knows them is shown this once."""
    made = await webhooks.make(WebhookWish(data.name, data.url, data.facts, data.everyone), principal)
    return Created(new_webhook_view(made), at=f"/webhooks/{made.id}")


@get("/webhooks", allow=READ, limit=per_minute(300))
async def list_webhooks(query: PageQuery, webhooks: WebhookService, principal: Principal) -> Page[WebhookView]:
    """List webhooks, newest first."""
    page = await webhooks.recent(query, principal)
    return Page([webhook_view(hook) for hook in page.items], page.next)


@get("/webhooks/{webhook_id:uuid}", allow=READ, limit=per_minute(600), errors=[_UnknownWebhook])
async def read_webhook(webhook_id: UUID, webhooks: WebhookService, principal: Principal) -> WebhookView:
    """Read a webhook."""
    return webhook_view(await webhooks.read(webhook_id, principal))


@patch("/webhooks/{webhook_id:uuid}", allow=WRITE, limit=per_minute(60), errors=[_UnknownWebhook, StaleVersion])
async def change_webhook(webhook_id: UUID, data: ChangeWebhook, webhooks: WebhookService, principal: Principal) -> WebhookView:
    """Change a webhook, or switch it off and on."""
    return webhook_view(await webhooks.change(webhook_id, WebhookChange(data.name, data.url, data.facts, data.active), principal))


@delete("/webhooks/{webhook_id:uuid}", allow=WRITE, limit=per_minute(60), errors=[_UnknownWebhook, StaleVersion])
async def remove_webhook(webhook_id: UUID, webhooks: WebhookService, principal: Principal) -> None:
    """Remove a webhook."""
    await webhooks.remove(webhook_id, principal)


@post("/webhooks/{webhook_id:uuid}/secret/rotation", allow=WRITE, limit=strict(per_minute(30)), errors=[_UnknownWebhook, StaleVersion])
async def rotate_webhook_secret(webhook_id: UUID, data: RotateSecret, webhooks: WebhookService, principal: Principal) -> NewWebhookView:
    """Give a webhook another secret, which is shown this once; the old one signs too until the overlap is over."""
    return new_webhook_view(await webhooks.rotate(webhook_id, timedelta(hours=data.overlap_hours), principal))


@post("/webhooks/{webhook_id:uuid}/test", allow=WRITE, limit=strict(per_minute(10)), errors=[_UnknownWebhook, WebhookOff])
async def test_webhook(webhook_id: UUID, deliveries: DeliveryService, principal: Principal) -> Created[DeliveryView]:
    """Send a webhook something that did not happen (`WebhookTest`)."""
    made = await deliveries.test(webhook_id, principal)
    return Created(delivery_view(made), at=f"/webhooks/{webhook_id}/deliveries/{made.id}")


@get("/webhooks/{webhook_id:uuid}/deliveries", allow=READ, limit=per_minute(300), errors=[_UnknownWebhook])
async def list_webhook_deliveries(
    webhook_id: UUID, query: PageQuery, deliveries: DeliveryService, principal: Principal
) -> Page[DeliveryView]:
    """List what was sent to a webhook, and how it went."""
    page = await deliveries.recent(webhook_id, query, principal)
    return Page([delivery_view(one) for one in page.items], page.next)


@get(
    "/webhooks/{webhook_id:uuid}/deliveries/{delivery_id:uuid}",
    allow=READ,
    limit=per_minute(600),
    errors=[_UnknownWebhook, _UnknownDelivery],
)
async def read_webhook_delivery(webhook_id: UUID, delivery_id: UUID, deliveries: DeliveryService, principal: Principal) -> DeliveryView:
    """Read one delivery."""
    return delivery_view(await deliveries.read(webhook_id, delivery_id, principal))


@post(
    "/webhooks/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/redeliver",
    allow=WRITE,
    limit=strict(per_minute(60)),
    errors=[_UnknownWebhook, _UnknownDelivery, WebhookOff, StaleVersion],
)
async def redeliver_webhook(
    webhook_id: UUID, delivery_id: UUID, deliveries: DeliveryService, principal: Principal
) -> Accepted[DeliveryView]:
    """Send a delivery again."""
    return Accepted(delivery_view(await deliveries.redeliver(webhook_id, delivery_id, principal)))
