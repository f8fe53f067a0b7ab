"""Digests: what came together since the last one, as one mail."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database
from fortress.domains.notifications.models import Notification
from fortress.domains.notifications.repository import NotificationRepository, SettingsRepository
from fortress.domains.notifications.service.digest import DIGEST, MOST_TOLD, Digest
from fortress.domains.notifications.service.reading import NotificationReader
from fortress.domains.notifications.service.telling import NotificationService
from fortress.security import SYSTEM

_ROUNDS: Final = 200


class Digests:
    """Makes digests. What is gathered, and the mail that tells of it, are one commit: nothing is told twice or left out."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationRepository,
        settings: SettingsRepository,
        reader: NotificationReader,
        teller: NotificationService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._settings = settings
        self._reader = reader
        self._teller = teller
        self._clock = clock

    async def gather_due(self) -> int:
        """Make every digest that is due; how many there were. Bounded: a hundred thousand people in one run."""
        made = 0
        for _ in range(_ROUNDS):
            now = self._clock.now()
            people = await self._notifications.due_people(self._database.reader(SYSTEM), now=now)
            for person in people:
                made += await self._gather(person, now)
            if not people:
                break
        return made

    async def _gather(self, person: UUID, now: datetime) -> bool:
        """Make one person's digest; False when another process was quicker."""
        async with self._database.unit(SYSTEM) as unit:
            gathered: list[Notification] = await self._notifications.gather(unit, person=person, now=now)
            settings = await self._settings.of.maybe(unit, person=person)
            if not gathered:
                return False
            ordered = sorted(gathered, key=lambda one: (one.created_at, one.id))
            told = tuple(self._reader.told(one, settings.locale if settings else None) for one in ordered[:MOST_TOLD])
            await self._teller.tell(unit, person, DIGEST, Digest(told, len(ordered) - len(told)))
        return True
