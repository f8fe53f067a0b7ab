"""What this domain keeps of a person: where they have facts sent, and what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fortress.data import Database, Unit
from fortress.domain import PersonalRecords
from fortress.domains.webhooks.repository import DeliveryRepository, WebhookRepository
from fortress.domains.webhooks.service.views import delivery_view, webhook_view
from fortress.security import SYSTEM


class WebhookRecords(PersonalRecords):
    """A person's webhooks; they go with the person, and nothing is sent to them any more."""

    def __init__(self, database: Database, webhooks: WebhookRepository, deliveries: DeliveryRepository) -> None:
        self._database = database
        self._webhooks = webhooks
        self._deliveries = deliveries

    async def export(self, person: UUID) -> Mapping[str, Sequence[Any]]:
        """Their webhooks without the secrets, and the newest 10,000 deliveries."""
        reader = self._database.reader(SYSTEM)
        hooks = await self._webhooks.of_person(reader, person=person)
        sent = await self._deliveries.of_person(reader, person=person)
        return {"webhooks": [webhook_view(hook) for hook in hooks], "webhook_deliveries": [delivery_view(one) for one in sent]}

    async def erase(self, unit: Unit, person: UUID) -> None:
        """All of it."""
        await self._deliveries.erase(unit, person=person)
        await self._webhooks.erase(unit, person=person)
