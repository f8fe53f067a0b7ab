"""The use cases of events: read the log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, EventEntry, Page, PageQuery
from fortress.domains.events.repository import EventRepository
from fortress.errors import FieldError, Invalid
from fortress.events.following import FactTail, LoggedFact, Place
from fortress.http import Happening
from fortress.http.streams import closed_after
from fortress.security import Principal
from fortress.settings import Settings

USUAL: Final = timedelta(days=31)
HEARTBEAT_SECONDS: Final = 15.0
_ID: Final = re.compile(r"(\d{1,18})\.(\d{1,18})").fullmatch


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

    def __init__(self, database: Database, events: EventRepository, clock: Clock, tail: FactTail, settings: Settings) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._tail = tail
        # A stream whose every part has the deadline of a request must say something before.
        self._pause = min(HEARTBEAT_SECONDS, settings.request_timeout / 3)

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

    def stream(self, after: str | None, name: str | None, aggregate: UUID | None, caller: Principal) -> AsyncIterator[Sequence[Happening]]:
        """What happens from now on, or all behind the event with the id `after`; nothing is a sign of life.

        Raises:
            Invalid: there is no such id.
        """

        def wanted(fact: LoggedFact) -> bool:
            return name in (None, fact.name) and aggregate in (None, fact.aggregate)

        return _told(self._tail.follow(caller.id, _place(after), wanted, self._pause))

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


async def _told(followed: AsyncIterator[Sequence[LoggedFact]]) -> AsyncIterator[Sequence[Happening]]:
    async with closed_after(followed):
        async for facts in followed:
            yield [happening(fact) for fact in facts]


@lru_cache(maxsize=4096)
def happening(fact: LoggedFact) -> Happening:
    """The fact as it is told, made once for all who look on."""
    view = EventView(fact.id, fact.at, fact.name, fact.version, fact.aggregate, fact.actor_id, fact.request_id, fact.payload)
    return Happening(f"{fact.place.tx}.{fact.place.seq}", fact.name, msgspec.Raw(msgspec.json.encode(view)))


def _place(id: str | None) -> Place | None:
    """The place behind the event of this id."""
    if id is None:
        return None
    found = _ID(id)
    if found is None:
        raise Invalid([FieldError("Last-Event-ID", "This is not the id of an event", "unknown_place")])
    return Place(int(found[1]), int(found[2]))
