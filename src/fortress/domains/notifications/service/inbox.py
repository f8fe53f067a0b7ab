"""A person's own list of what they were told."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database, Page, PageQuery
from fortress.domains.notifications.contract import UnknownNotification
from fortress.domains.notifications.models import Notification
from fortress.domains.notifications.repository import NotificationRepository, SettingsRepository
from fortress.domains.notifications.service.reading import NotificationReader, NotificationView
from fortress.security import Principal


class InboxService:
    """The list of whoever asks; nobody sees another's."""

    def __init__(
        self,
        database: Database,
        notifications: NotificationRepository,
        settings: SettingsRepository,
        reader: NotificationReader,
        clock: Clock,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._settings = settings
        self._reader = reader
        self._clock = clock

    async def page(self, query: PageQuery, caller: Principal) -> Page[NotificationView]:
        """What the caller was told, newest first."""
        return await self._shown(await self._notifications.listed(self._database.reader(caller), query=query, person=caller.id), caller)

    async def unread(self, query: PageQuery, caller: Principal) -> Page[NotificationView]:
        """What of it they have not read yet."""
        return await self._shown(await self._notifications.unread(self._database.reader(caller), query=query, person=caller.id), caller)

    async def mark(self, id: UUID, caller: Principal, *, read: bool) -> NotificationView:
        """Say that one is read, or not read after all.

        Raises:
            UnknownNotification: there is no such notification of the caller's.
        """
        async with self._database.unit(caller) as unit:
            found = await self._notifications.mark(unit, person=caller.id, id=id, read_at=self._clock.now() if read else None)
        if not found:
            raise UnknownNotification
        return self._reader.view(found[0], await self._locale(caller))

    async def mark_until(self, until: datetime, caller: Principal) -> int:
        """Say that everything is read that came until then; how much there was."""
        async with self._database.unit(caller) as unit:
            return await self._notifications.mark_until(unit, person=caller.id, until=until, now=self._clock.now())

    async def _shown(self, page: Page[Notification], caller: Principal) -> Page[NotificationView]:
        locale = await self._locale(caller)
        return Page([self._reader.view(one, locale) for one in page.items], page.next)

    async def _locale(self, caller: Principal) -> str | None:
        settings = await self._settings.of.maybe(self._database.reader(caller), person=caller.id)
        return settings.locale if settings else None
