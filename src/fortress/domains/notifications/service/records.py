"""What this domain keeps of a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domain import PersonalRecords
from fortress.domains.notifications.models import Notification, NotificationSettings
from fortress.domains.notifications.repository import MarkRepository, NotificationRepository, SettingsRepository
from fortress.domains.notifications.service.reading import NotificationReader
from fortress.security import SYSTEM

# As long as the facts that people are told for: a subscriber that hears an old one again tells nobody again.
_MARKS_KEPT: Final = timedelta(days=400)
_ROUNDS: Final = 100


class NotificationRecords(PersonalRecords):
    """What people were told and how they want to be told; it goes with the person."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationRepository,
        marks: MarkRepository,
        settings: SettingsRepository,
        reader: NotificationReader,
        clock: Clock,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._marks = marks
        self._settings = settings
        self._reader = reader
        self._clock = clock

    async def export(self, person: UUID) -> Mapping[str, Sequence[Any]]:
        """What they were told, newest first, and what they chose. A letter with a token is named and not repeated."""
        reader = self._database.reader(SYSTEM)
        settings = await self._settings.of.maybe(reader, person=person)
        told = await self._notifications.of_person(reader, person=person)
        locale = settings.locale if settings else None
        return {
            "notifications": [self._told(one, locale) for one in told],
            "notification_settings": [] if settings is None else [_chosen(settings)],
        }

    async def erase(self, unit: Unit, person: UUID) -> None:
        """All of it."""
        await self._notifications.erase(unit, person=person)
        await self._marks.erase(unit, person=person)
        await self._settings.erase(unit, person=person)

    async def forget_marks(self) -> int:
        """Delete marks that nothing can meet any more; how many there were."""
        gone = 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                forgotten = await self._marks.forget(unit, before=self._clock.now() - _MARKS_KEPT)
            gone += forgotten
            if not forgotten:
                break
        return gone

    def _told(self, one: Notification, locale: str | None) -> dict[str, Any]:
        state = {"mail": one.mail.value, "sent_at": one.sent_at, "read_at": one.read_at, "created_at": one.created_at}
        if not one.listed:
            return {"kind": one.kind, "address": one.address, **state}
        view = self._reader.view(one, locale)
        return {"kind": one.kind, "subject": view.subject, "text": view.text, **state}


def _chosen(settings: NotificationSettings) -> dict[str, Any]:
    return {
        "locale": settings.locale,
        "delivery": settings.choices,
        "address_refused": settings.refused,
        "address_refused_at": settings.refused_at,
    }
