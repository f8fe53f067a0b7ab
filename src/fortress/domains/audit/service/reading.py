"""Reading the log, page by page, within a stretch of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import AuditEntry, Database, Page, PageQuery
from fortress.domains.audit.repository import LogRepository
from fortress.errors import FieldError, Invalid
from fortress.security import Principal

USUAL: Final = timedelta(days=31)


class EntryView(msgspec.Struct, frozen=True):
    """Who did what, to what, when, from where and in which request."""

    id: UUID
    at: datetime
    actor_id: UUID
    actor_kind: str
    session: UUID | None
    action: str
    target: str | None
    address: str | None
    request_id: str | None
    detail: dict[str, Any]


class LogService:
    """What happened."""

    def __init__(self, database: Database, log: LogRepository, clock: Clock) -> None:
        self._database = database
        self._log = log
        self._clock = clock

    async def recent(self, query: PageQuery, since: datetime | None, until: datetime | None, caller: Principal) -> Page[EntryView]:
        """The entries of a stretch of time, newest first; without bounds that of the last 31 days.

        Raises:
            Invalid: it ends before it begins.
        """
        # A little ahead of the clock: what another server has just written may bear a later time than ours.
        end = until or self._clock.now() + timedelta(minutes=1)
        begin = since or end - USUAL
        if begin >= end:
            raise Invalid([FieldError("?since", "This is not before until", "since_not_before_until")])
        page = await self._log.recent(self._database.reader(caller), query=query, since=begin, until=end)
        return Page([entry_view(entry) for entry in page.items], page.next)


def entry_view(entry: AuditEntry) -> EntryView:
    return EntryView(
        entry.id,
        entry.at,
        entry.actor_id,
        entry.actor_kind,
        entry.session,
        entry.action,
        entry.target,
        entry.address,
        entry.request_id,
        entry.detail,
    )
