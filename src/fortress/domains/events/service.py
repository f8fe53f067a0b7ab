"""The use cases of events: read the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, EventEntry, Page, PageQuery
from fortress.domains.events.repository import EventRepository
from fortress.errors import FieldError, Invalid
from fortress.security import Principal

USUAL: Final = timedelta(days=31)


class EventView(msgspec.Struct, frozen=True):
    """What happened to what, through whom and in which request; `fact` has the shape of its `version`."""

    id: UUID
    at: datetime
    name: str
    version: int
    aggregate: UUID
    actor_id: UUID
    request_id: str | None
    fact: dict[str, Any]


class Wanted(msgspec.Struct, frozen=True):
    """Which facts: from `since` on, before `until`, of one kind, about one thing."""

    since: datetime | None = None
    until: datetime | None = None
    name: str | None = None
    aggregate: UUID | None = None


class EventService:
    """What has happened."""

    def __init__(self, database: Database, events: EventRepository, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def recent(self, query: PageQuery, wanted: Wanted, caller: Principal) -> Page[EventView]:
        """The facts of a stretch of time, newest first; without bounds those of the last 31 days.

        Raises:
            Invalid: it ends before it begins.
        """
        # A little ahead of the clock: what another server has just written may bear a later time than ours.
        end = wanted.until or self._clock.now() + timedelta(minutes=1)
        begin = wanted.since or end - USUAL
        if begin >= end:
            raise Invalid([FieldError("?since", "This is not before until", "since_not_before_until")])
        page = await self._page(query, wanted, begin, end, caller)
        return Page([event_view(entry) for entry in page.items], page.next)

    async def _page(self, query: PageQuery, wanted: Wanted, since: datetime, until: datetime, caller: Principal) -> Page[EventEntry]:
        reader = self._database.reader(caller)
        name, aggregate, events = wanted.name, wanted.aggregate, self._events
        if name is None and aggregate is None:
            return await events.recent(reader, query=query, since=since, until=until)
        if aggregate is None:
            return await events.named(reader, query=query, since=since, until=until, name=name)
        if name is None:
            return await events.about(reader, query=query, since=since, until=until, aggregate=aggregate)
        return await events.named_about(reader, query=query, since=since, until=until, name=name, aggregate=aggregate)


def event_view(entry: EventEntry) -> EventView:
    return EventView(
        entry.id, entry.at, entry.name, entry.version, entry.aggregate, entry.actor_id, entry.request_id, entry.payload
    )  # fmt: skip
