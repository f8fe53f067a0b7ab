"""What was sent to a webhook, and sending it again."""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from fortress.clock import Clock
from fortress.data import Database, Page, PageQuery, Unit
from fortress.domains.webhooks.contract import WebhookOff
from fortress.domains.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState
from fortress.domains.webhooks.repository import DeliveryRepository, Listener, WebhookRepository
from fortress.domains.webhooks.service.hearing import FanOut
from fortress.domains.webhooks.service.sending import send_now
from fortress.security import Principal


class DeliveryService:
    """The log of deliveries, within the caller's reach."""

    def __init__(
        self, database: Database, webhooks: WebhookRepository, deliveries: DeliveryRepository, fan_out: FanOut, clock: Clock
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._fan_out = fan_out
        self._clock = clock

    async def recent(self, webhook: UUID, query: PageQuery, by: Principal) -> Page[Delivery]:
        """A webhook's deliveries, the newest fact first. Raises NotFound."""
        reader = self._database.reader(by)
        await self._webhooks.by_id(reader, id=webhook)
        return await self._deliveries.of_webhook(reader, query=query, webhook=webhook)

    async def read(self, webhook: UUID, id: UUID, by: Principal) -> Delivery:
        """One of them. Raises NotFound."""
        return await self._deliveries.by_id(self._database.reader(by), webhook=webhook, id=id)

    async def redeliver(self, webhook: UUID, id: UUID, by: Principal) -> Delivery:
        """Send it again at once, and from the beginning of the schedule; with the same id, by which receivers know it.

        Raises:
            NotFound: it is not there, or not within the caller's reach.
            WebhookOff: the webhook is disabled.
        """
        async with self._database.unit(by) as unit:
            await self._on(unit, webhook)
            found = await self._deliveries.by_id(unit, webhook=webhook, id=id)
            wanted = replace(found, state=DeliveryState.WAITING, tries=0, next_at=self._clock.now())
            saved = await self._deliveries.save(unit, wanted)
            send_now(unit, saved, saved.version)
            unit.audit("webhooks.redelivered", target=id, detail={"webhook": str(webhook)})
        return saved

    async def test(self, webhook: UUID, by: Principal) -> Delivery:
        """Send something that did not happen, to see whether it arrives. Raises NotFound, WebhookOff."""
        async with self._database.unit(by) as unit:
            hook = await self._on(unit, webhook)
            return await self._fan_out.test(unit, Listener(hook.id, hook.user_id))

    async def _on(self, unit: Unit, webhook: UUID) -> Webhook:
        hook = await self._webhooks.by_id(unit, id=webhook)
        if hook.state is WebhookState.DISABLED:
            raise WebhookOff
        return hook
