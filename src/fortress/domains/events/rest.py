"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from fortress.data import Page, PageQuery
from fortress.domains.events.policy import READ
from fortress.domains.events.service import EventService, EventView, Wanted
from fortress.http import get, per_minute
from fortress.http.pages import PageInput
from fortress.security import Principal

FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=FIRST, le=LAST)]


class EventQuery(PageInput):
    """A page of what happened in a stretch of time: from `since` on, before `until`."""

    since: Moment | None = Field(None, description="RFC 3339; unset: 31 days before until")
    until: Moment | None = Field(None, description="RFC 3339; unset: now")
    name: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9]{0,99}$", description="of one kind only, such as OrderPlaced")
    aggregate: UUID | None = Field(None, description="about one thing only")


@get("/events", allow=READ, limit=per_minute(120))
async def list_events(query: EventQuery, events: EventService, principal: Principal) -> Page[EventView]:
    """List what has happened, newest first."""
    wanted = Wanted(query.since, query.until, query.name, query.aggregate)
    return await events.recent(PageQuery(query.limit, query.cursor), wanted, principal)
