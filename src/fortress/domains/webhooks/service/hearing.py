"""From facts to deliveries."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Unit
from fortress.domains.webhooks.models import Delivery, DeliveryState
from fortress.domains.webhooks.repository import DeliveryRepository, Listener, WebhookRepository
from fortress.domains.webhooks.service.sending import send_now
from fortress.events import Event

TEST: Final = "WebhookTest"


class FanOut:
    """Makes a delivery of a fact for each webhook that hears it, in the transaction in which the fact counts as heard."""

    def __init__(self, webhooks: WebhookRepository, deliveries: DeliveryRepository, clock: Clock, ids: Ids) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._clock = clock
        self._ids = ids

    async def hear(self, event: Event, unit: Unit) -> None:
        """A fact that is heard again makes no second delivery. One round trip; none while nobody hears facts of this name."""
        if not await self._is_heard(event.name, unit):
            return
        found = await self._webhooks.hearing(unit, fact=event.name, actor=event.actor_id, at=event.at, event=event.id)
        body = msgspec.json.encode({"type": event.name, "timestamp": event.at, "data": event.fact}).decode()
        for listener in found:
            await self.begin(unit, _draft(self._ids.new(), listener, event, body))

    async def _is_heard(self, name: str, unit: Unit) -> bool:
        """Asked once in a unit: all facts that it hears were committed before, and so were the webhooks that may hear them."""
        known: dict[str, bool] = unit.memory.setdefault(FanOut, {})
        if name not in known:
            known[name] = bool(await self._webhooks.listening(unit, fact=name))
        return known[name]

    async def test(self, unit: Unit, listener: Listener) -> Delivery:
        """A delivery of nothing that happened."""
        id, event, now = self._ids.new(), self._ids.new(), self._clock.now()
        data: dict[str, Any] = {"type": TEST, "timestamp": now, "data": {"webhook_id": listener.id}}
        body = msgspec.json.encode(data).decode()
        draft = Delivery(id, listener.id, listener.user_id, event, TEST, body, DeliveryState.WAITING, [], 0, now, now, 1)
        return await self.begin(unit, draft)

    async def begin(self, unit: Unit, draft: Delivery) -> Delivery:
        """Write it down and have it sent, both or nothing."""
        await self._deliveries.add(unit, draft)
        send_now(unit, draft, draft.version)
        return draft


def _draft(id: UUID, listener: Listener, event: Event, body: str) -> Delivery:
    return Delivery(id, listener.id, listener.user_id, event.id, event.name, body, DeliveryState.WAITING, [], 0, event.at, event.at, 1)
