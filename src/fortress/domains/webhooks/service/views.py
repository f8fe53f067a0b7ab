"""Webhooks and deliveries as people see them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.domains.webhooks.models import Attempt, Delivery, DeliveryState, Webhook, WebhookState
from fortress.domains.webhooks.service.signing import shown


class WebhookView(msgspec.Struct, frozen=True):
    """A webhook without its secret.

    Attributes:
        everyone: whether it hears what everyone does; else what its owner does.
        reason: why it is disabled: by_hand, gone, failing, not_allowed.
        old_secret_until: until when the secret before this one signs too.
    """

    id: UUID
    user_id: UUID
    name: str
    url: str
    facts: list[str]
    everyone: bool
    state: WebhookState
    reason: str | None
    failing_since: datetime | None
    paused_until: datetime | None
    old_secret_until: datetime | None
    created_at: datetime

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


class NewWebhookView(WebhookView, frozen=True):
    """A webhook with its secret, which is shown this once."""

    secret: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class DeliveryView(msgspec.Struct, frozen=True):
    """One fact for one webhook.

    Attributes:
        event_id: the header webhook-id.
        next_at: when it is tried again at the earliest.
    """

    id: UUID
    webhook_id: UUID
    event_id: UUID
    fact: str
    state: DeliveryState
    attempts: list[Attempt]
    next_at: datetime | None
    created_at: datetime


def webhook_view(hook: Webhook) -> WebhookView:
    """As its owner sees it."""
    return WebhookView(*_seen(hook))


def new_webhook_view(hook: Webhook) -> NewWebhookView:
    """As its owner sees it once."""
    return NewWebhookView(*_seen(hook), shown(hook.secret))


def delivery_view(one: Delivery) -> DeliveryView:
    """As the webhook's owner sees it."""
    return DeliveryView(one.id, one.webhook_id, one.event_id, one.fact, one.state, one.attempts, one.next_at, one.created_at)


def _seen(
    hook: Webhook,
) -> tuple[UUID, UUID, str, str, list[str], bool, WebhookState, str | None, datetime | None, datetime | None, datetime | None, datetime]:
    return (
        hook.id,
        hook.user_id,
        hook.name,
        hook.url,
        hook.facts,
        hook.everyone,
        hook.state,
        hook.reason,
        hook.failing_since,
        hook.paused_until,
        hook.old_until,
        hook.created_at,
    )
