"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from fortress.data import Page, PageQuery
from fortress.domains.audit.policy import READ
from fortress.domains.audit.service.reading import EntryView, LogService
from fortress.http import get, per_minute
from fortress.http.pages import PageInput
from fortress.security import Principal

FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=FIRST, le=LAST)]


class LogQuery(PageInput):
    """A page of a stretch of time: from `since` on, before `until`."""

    since: Moment | None = Field(None, description="RFC 3339; unset: 31 days before until")
    until: Moment | None = Field(None, description="RFC 3339; unset: now")


@get("/audit", allow=READ, limit=per_minute(120))
async def list_audit_entries(query: LogQuery, log: LogService, principal: Principal) -> Page[EntryView]:
    """List who did what, newest first."""
    return await log.recent(PageQuery(query.limit, query.cursor), query.since, query.until, principal)
