"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from fortress.data import Repository, any_, change, delete, exists, many, not_, one, or_, page, param, select
from fortress.domains.webhooks.models import Delivery, Webhook, WebhookState

MOST_HEARING: Final = 1000
MOST_EXPORTED: Final = 10_000
EVERY_FACT: Final = "*"


class Listener(msgspec.Struct, frozen=True):
    """A webhook that hears a fact."""

    id: UUID
    user_id: UUID


_hook, _sent = Webhook.c, Delivery.c
_sent_already = exists().where(_sent.created_at == param("at"), _sent.webhook_id == _hook.id, _sent.event_id == param("event"))
_listens = (
    _hook.state != WebhookState.DISABLED,
    or_(any_(_hook.facts) == param("fact", str), any_(_hook.facts) == EVERY_FACT),
)
_hears = (
    *_listens,
    # What happened before it was there it does not hear, however often the log is read anew.
    _hook.created_at <= param("at"),
    or_(_hook.everyone, _hook.user_id == param("actor")),
    not_(_sent_already),
)


class WebhookRepository(Repository[Webhook]):
    """Where facts are sent."""

    by_id = one(select(Webhook).where(_hook.id == param("id")))
    locked = one(select(Webhook).where(_hook.id == param("id")).with_for_update())
    listed = page(select(Webhook), newest_first=_hook.created_at)
    of_person = many(select(Webhook).where(_hook.user_id == param("person")))
    ids_of = many(select(_hook.id).where(_hook.user_id == param("person")), into=UUID)
    wide = many(select(_hook.id).where(_hook.everyone), into=UUID)
    listening = many(select(_hook.id).where(*_listens), into=UUID, limit=1)
    hearing = many(select(_hook.id, _hook.user_id).where(*_hears), into=Listener, limit=MOST_HEARING)
    erase = change(delete(Webhook).where(_hook.user_id == param("person")))


class DeliveryRepository(Repository[Delivery]):
    """What was sent, or is to be."""

    # With its time, so that one partition is looked into.
    at = one(select(Delivery).where(_sent.id == param("id"), _sent.created_at == param("at")))
    of_webhook = page(select(Delivery).where(_sent.webhook_id == param("webhook")), newest_first=_sent.created_at)
    by_id = one(select(Delivery).where(_sent.webhook_id == param("webhook"), _sent.id == param("id")))
    of_person = many(select(Delivery).where(_sent.user_id == param("person")).order_by(_sent.created_at.desc()), limit=MOST_EXPORTED)
    erase = change(delete(Delivery).where(_sent.user_id == param("person")))
