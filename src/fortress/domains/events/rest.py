"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from fortress.data import Page, PageQuery
from fortress.domains.events.policy import READ
from fortress.domains.events.service import EventService, EventView, Wanted
from fortress.events.following.tail import TooManyStreams
from fortress.http import Feed, Input, Request, get, per_minute
from fortress.http.pages import PageInput
from fortress.security import Principal

FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=FIRST, le=LAST)]


_NAME: Final = r"^[A-Za-z][A-Za-z0-9]{0,99}$"


class EventQuery(PageInput):
    """A page of what happened in a stretch of time: from `since` on, before `until`."""

    since: Moment | None = Field(None, description="RFC 3339; unset: 31 days before until")
    until: Moment | None = Field(None, description="RFC 3339; unset: now")
    name: str | None = Field(None, pattern=_NAME, description="of one kind only, such as OrderPlaced")
    aggregate: UUID | None = Field(None, description="about one thing only")


class StreamQuery(Input):
    """Which of what happens."""

    name: str | None = Field(None, pattern=_NAME, description="of one kind only, such as OrderPlaced")
    aggregate: UUID | None = Field(None, description="about one thing only")


@get("/events/stream", allow=READ, limit=per_minute(60), errors=[TooManyStreams])
async def stream_events(query: StreamQuery, request: Request, events: EventService, principal: Principal) -> Feed[EventView]:
    """Look on at what happens, as server-sent events in the order of the commits.

    A client that comes back with `Last-Event-ID` misses nothing. An event `end` says why nothing more comes.
    """
    after = request.head.get(b"last-event-id")
    return Feed(events.stream(after.decode("latin-1") if after else None, query.name, query.aggregate, principal))


@get("/events", allow=READ, limit=per_minute(120))
async def list_events(query: EventQuery, events: EventService, principal: Principal) -> Page[EventView]:
    """List what has happened, newest first."""
    wanted = Wanted(query.since, query.until, query.name, query.aggregate)
    return await events.recent(PageQuery(query.limit, query.cursor), wanted, principal)
