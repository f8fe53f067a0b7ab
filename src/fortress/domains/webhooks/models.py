"""The tables. One declaration is the stored value and the table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Personal, Text, Unique, Version, desc

NAME_LENGTH = 80


class WebhookState(StrEnum):
    """Whether anything is sent.

    Attributes:
        PAUSED: it has failed too often; now and then one delivery is tried.
        DISABLED: nothing is sent until somebody switches it on.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Webhook(Entity, frozen=True):
    """Where facts are sent.

    Attributes:
        url: encrypted, for paths and queries hold tokens.
        facts: names of what it hears; `*`: everything.
        everyone: whether it hears what everyone does; else only what its owner does.
        reason: why it is disabled.
        secret: what deliveries are signed with.
        old_secret: the one before; it signs too until `old_until`.
        failures: in a row.
        failing_since: the first of them.
        paused_until: when the next delivery may be tried.
    """

    __tablename__ = "webhooks"
    __indexes__ = (Index("idx_webhooks_user", "user_id", desc("created_at"), desc("id")),)

    id: Key
    user_id: Owner
    name: Annotated[str, Text(NAME_LENGTH)]
    url: Personal[str]
    facts: list[str]
    everyone: bool
    state: WebhookState
    reason: str | None
    secret: Personal[bytes]
    old_secret: Personal[bytes | None]
    old_until: datetime | None
    failures: int
    failing_since: datetime | None
    paused_until: datetime | None
    created_at: CreatedAt
    version: Version

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


class Attempt(msgspec.Struct, frozen=True):
    """One try.

    Attributes:
        status: of the answer; None where there was none.
        fault: why there was none.
        excerpt: how the answer began.
    """

    at: datetime
    milliseconds: int
    status: int | None
    fault: str | None
    excerpt: str


class Delivery(Entity, frozen=True):
    """One fact for one webhook. It stands in the month in which the fact happened, so that hearing the fact again makes no second one.

    Attributes:
        event_id: of the fact in the log; receivers know a repetition by it.
        body: what is sent and signed, byte by byte.
        attempts: the last of them.
        tries: since it was last asked for.
        next_at: when it is tried again at the earliest.
    """

    __tablename__ = "webhook_deliveries"
    __partition_by__ = "created_at"
    __keep_months__ = 3
    __indexes__ = (
        Index("idx_webhook_deliveries_webhook", "webhook_id", desc("created_at"), desc("id")),
        Index("idx_webhook_deliveries_user", "user_id"),
        Unique("webhook_deliveries_event", "created_at", "webhook_id", "event_id"),
    )

    id: Key
    webhook_id: UUID
    user_id: Owner
    event_id: UUID
    fact: str
    body: str
    state: DeliveryState
    attempts: list[Attempt]
    tries: int
    next_at: datetime | None
    created_at: CreatedAt
    version: Version
