"""How somebody is told: what they chose, else what the kind says. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from fortress.domains.notifications.contract import Recipient
from fortress.domains.notifications.models import NotificationSettings
from fortress.mail import Delivery, NotificationKind

# Before the day begins for most of Europe. Nobody's own time is asked for.
_HOUR: Final = 6
_MONDAY: Final = 0
_TRIED_AGAIN: Final = timedelta(days=30)


def wish(kind: NotificationKind[Any], settings: NotificationSettings | None) -> Delivery:
    """How mails of this kind go to somebody of these settings."""
    if not kind.chosen:
        return Delivery.IMMEDIATE
    chosen = settings.choices.get(kind.name) if settings else None
    return Delivery(chosen) if chosen in set(Delivery) else kind.delivery


def due(way: Delivery, now: datetime) -> datetime:
    """When the next digest of this rhythm goes out; always later than now."""
    day = now.replace(hour=_HOUR, minute=0, second=0, microsecond=0)
    if day <= now:
        day += timedelta(days=1)
    if way is Delivery.WEEKLY:
        day += timedelta(days=(_MONDAY - day.weekday()) % 7)
    return day


def unreachable(settings: NotificationSettings | None, address: str, now: datetime) -> bool:
    """Whether a mail server said lately that nobody has this very address. After a month it is asked again."""
    if settings is None or settings.refused is None or settings.refused_at is None:
        return False
    return settings.refused == address and now - settings.refused_at < _TRIED_AGAIN


def may_have(kind: NotificationKind[Any], settings: NotificationSettings | None, recipient: Recipient, now: datetime) -> bool:
    """Whether a mail of this kind goes to them at all; what concerns the safety of an account always does."""
    return not kind.chosen or (recipient.active and not unreachable(settings, recipient.email, now))
