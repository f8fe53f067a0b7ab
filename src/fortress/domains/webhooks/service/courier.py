"""Carrying deliveries out: one try each time, and what follows from it in one transaction."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.access.contract import Access
from fortress.domains.webhooks.models import Attempt, Delivery, DeliveryState, Webhook, WebhookState
from fortress.domains.webhooks.policy import WRITE
from fortress.domains.webhooks.repository import DeliveryRepository, WebhookRepository
from fortress.domains.webhooks.service.circuit import (
    GONE,
    NOT_ALLOWED,
    after_failure,
    after_success,
    disabled,
    is_resting,
    probing,
)
from fortress.domains.webhooks.service.notices import Notices
from fortress.domains.webhooks.service.schedule import pause_after, read_retry_after
from fortress.domains.webhooks.service.sending import Carrier, send_at
from fortress.domains.webhooks.service.signing import signed_headers
from fortress.failpoints import Failpoint
from fortress.outward import Answered, Outward, Unanswered
from fortress.security import SYSTEM, Method, PermissionTable
from fortress.security.permissions import FACTORS
from fortress.settings import Settings

ANSWERED: Final = Failpoint("webhooks.answered", "A receiver has answered; nothing that we know of it is committed.")
MOST_ATTEMPTS: Final = 20
EXCERPT: Final = 300
# Deliveries that waited for a receiver come back spread over this, not all at once.
SPREAD: Final = timedelta(seconds=30)
_OK: Final = range(200, 300)
_GONE: Final = 410


class Post:
    """What goes out: to public addresses over TLS, and to the networks that are set."""

    def __init__(self, settings: Settings) -> None:
        plain = not settings.production and bool(settings.webhook_networks)
        self.outward = Outward(settings.webhook_networks, plain=plain)


class Courier(Carrier):
    """Tries deliveries. A process that dies in between tries again, with the same webhook-id: receivers drop what they know."""

    def __init__(
        self,
        database: Database,
        webhooks: WebhookRepository,
        deliveries: DeliveryRepository,
        access: Access,
        permissions: PermissionTable,
        notices: Notices,
        post: Post,
        clock: Clock,
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._access = access
        self._permissions = permissions
        self._notices = notices
        self._post = post
        self._clock = clock
        self._chance: Callable[[], float] = random.random

    async def deliver(self, id: UUID, at: datetime, version: int) -> None:
        """Try one delivery, if this is still its turn and the webhook takes any."""
        reader = self._database.reader(SYSTEM)
        delivery = await self._deliveries.at.maybe(reader, id=id, at=at)
        if delivery is None or delivery.state is not DeliveryState.WAITING or delivery.version != version:
            return
        hook = await self._webhooks.by_id.maybe(reader, id=delivery.webhook_id)
        if hook is None or hook.state is WebhookState.DISABLED:
            await self._drop(delivery)
        elif not await self._allowed(hook):
            await self._give_up(hook.id, delivery)
        elif hook.state is WebhookState.PAUSED and not await self._may_probe(hook.id):
            await self._postpone(delivery, hook)
        else:
            await self._try(hook, delivery)

    async def _allowed(self, hook: Webhook) -> bool:
        """Whether its owner may still hear this: what counts is what they hold now, not what they held when they made it."""
        holding = await self._access.holding_of(hook.user_id)
        need = self._permissions.need(WRITE)
        grants = self._permissions.held(holding, Method.SESSION, FACTORS).grants
        return bool(grants & (need.anyone if hook.everyone else need.mask))

    async def _may_probe(self, id: UUID) -> bool:
        """Whether this delivery is the one by which a failing receiver is tried."""
        now = self._clock.now()
        async with self._database.unit(SYSTEM) as unit:
            hook = await self._webhooks.locked.maybe(unit, id=id)
            if hook is None or is_resting(hook, now):
                return False
            await self._webhooks.save(unit, probing(hook, now))
        return True

    async def _try(self, hook: Webhook, delivery: Delivery) -> None:
        now, body = self._clock.now(), delivery.body.encode()
        headers = signed_headers(keys_of(hook, now), delivery.event_id, now, body)
        try:
            answer = await self._post.outward.post(hook.url, headers, body)
        except Unanswered as error:
            attempt = Attempt(now, round(error.seconds * 1000), None, error.fault.value, "")
            await self._failed(hook.id, _tried(delivery, attempt), None)
            return
        if ANSWERED.armed:
            await ANSWERED.reached()
        attempt = Attempt(now, round(answer.seconds * 1000), answer.status, None, excerpt(answer.start))
        if answer.status in _OK:
            await self._succeeded(hook, _tried(delivery, attempt))
        else:
            await self._failed(hook.id, _tried(delivery, attempt), answer)

    async def _succeeded(self, hook: Webhook, delivery: Delivery) -> None:
        async with self._database.unit(SYSTEM) as unit:
            if hook.failures:
                locked = await self._webhooks.locked.maybe(unit, id=hook.id)
                if locked is not None:
                    await self._webhooks.save(unit, after_success(locked))
            await self._deliveries.save(unit, replace(delivery, state=DeliveryState.DELIVERED, next_at=None))

    async def _failed(self, hook_id: UUID, delivery: Delivery, answer: Answered | None) -> None:
        now = self._clock.now()
        async with self._database.unit(SYSTEM) as unit:
            hook = await self._webhooks.locked.maybe(unit, id=hook_id)
            if hook is not None:
                gone = answer is not None and answer.status == _GONE
                hook = await self._kept(unit, hook, disabled(hook, GONE) if gone else after_failure(hook, now))
            wished = read_retry_after(answer.retry_after, now) if answer else None
            pause = pause_after(delivery.tries, wished, self._chance())
            if hook is None or hook.state is WebhookState.DISABLED or pause is None:
                await self._deliveries.save(unit, _ended(delivery))
            else:
                await self._again(unit, delivery, now + pause)

    async def _kept(self, unit: Unit, before: Webhook, after: Webhook) -> Webhook:
        if after.state is WebhookState.DISABLED and before.state is not WebhookState.DISABLED:
            await self._notices.disabled(unit, after)
        return await self._webhooks.save(unit, after)

    async def _give_up(self, id: UUID, delivery: Delivery) -> None:
        async with self._database.unit(SYSTEM) as unit:
            hook = await self._webhooks.locked.maybe(unit, id=id)
            if hook is not None:
                await self._kept(unit, hook, disabled(hook, NOT_ALLOWED))
            await self._deliveries.save(unit, _ended(delivery))

    async def _postpone(self, delivery: Delivery, hook: Webhook) -> None:
        """Wait with it until the receiver is tried again; it counts as no try."""
        now = self._clock.now()
        moment = max(hook.paused_until or now, now) + SPREAD * self._chance()
        async with self._database.unit(SYSTEM) as unit:
            await self._again(unit, delivery, moment)

    async def _drop(self, delivery: Delivery) -> None:
        async with self._database.unit(SYSTEM) as unit:
            await self._deliveries.save(unit, _ended(delivery))

    async def _again(self, unit: Unit, delivery: Delivery, moment: datetime) -> None:
        saved = await self._deliveries.save(unit, replace(delivery, next_at=moment))
        send_at(unit, saved, saved.version, moment)


def keys_of(hook: Webhook, now: datetime) -> list[bytes]:
    """What a delivery is signed with: the secret, and the one before while it counts."""
    overlapping = hook.old_secret is not None and hook.old_until is not None and now < hook.old_until
    return [hook.secret, hook.old_secret] if overlapping and hook.old_secret else [hook.secret]


def excerpt(start: bytes) -> str:
    """How an answer began, as text that shows all that it holds."""
    text = start.decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text[:EXCERPT]).strip()


def _tried(delivery: Delivery, attempt: Attempt) -> Delivery:
    attempts = [*delivery.attempts, attempt][-MOST_ATTEMPTS:]
    return replace(delivery, attempts=attempts, tries=delivery.tries + 1)


def _ended(delivery: Delivery) -> Delivery:
    return replace(delivery, state=DeliveryState.FAILED, next_at=None)
