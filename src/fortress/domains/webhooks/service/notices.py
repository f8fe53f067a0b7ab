"""Telling a webhook's owner that nothing is sent any more."""

from __future__ import annotations

from typing import Final

from fortress.data import Unit
from fortress.domains.notifications.contract import Notifications
from fortress.domains.webhooks.events import WebhookDisabled
from fortress.domains.webhooks.models import Webhook
from fortress.domains.webhooks.service.circuit import FAILING
from fortress.mail import NotificationData, NotificationKind


class Stopped(NotificationData, frozen=True):
    """A webhook, and why nothing is sent to it."""

    webhook: str
    reason: str


STOPPED: Final = NotificationKind("webhooks.disabled", "Webhooks that were disabled", Stopped("Books", FAILING))


class Notices:
    """A fact, an audit row and a word to the owner, in the commit that disables the webhook."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    async def disabled(self, unit: Unit, hook: Webhook) -> None:
        """It was disabled, and not by hand."""
        reason = hook.reason or ""
        unit.record(WebhookDisabled(webhook_id=hook.id, reason=reason))
        unit.audit("webhooks.disabled", target=hook.id, detail={"reason": reason})
        await self._notifications.tell(unit, hook.user_id, STOPPED, Stopped(hook.name, reason))
