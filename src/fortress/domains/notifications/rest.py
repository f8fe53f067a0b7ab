"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from html import escape
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from fortress.data import Page, PageQuery
from fortress.domains.notifications.contract import (
    NOTIFICATIONS_READ,
    NOTIFICATIONS_WRITE,
    BrokenLink,
    NotYourChoice,
    UnknownNotification,
)
from fortress.domains.notifications.service import InboxService, NotificationView, PreferenceService, PreferencesView
from fortress.errors import StaleVersion
from fortress.http import PUBLIC, Answer, Input, get, patch, per_minute, post, put
from fortress.http.pages import PageInput
from fortress.mail import Delivery
from fortress.security import Principal

_HTML: Final = (b"content-type", b"text/html; charset=utf-8")
_FORM: Final = (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")


class ListNotifications(PageInput):
    """A page of one's own notifications; of those that are not read yet, where only they are asked for."""

    unread: bool = Field(default=False, description="only what is not read yet")


class MarkNotification(Input):
    """Whether it is read."""

    read: bool


class MarkNotifications(Input):
    """All are read that came until then; what has come since, and was not seen, is not."""

    read_until: AwareDatetime


class ChoosePreferences(Input):
    """How one wants to be told: the whole choice. Kinds that are not named go as they usually do."""

    locale: Annotated[str, Field(max_length=6, pattern=r"^[a-z]{2,3}(?:-[A-Z]{2})?$")] | None = None
    delivery: Annotated[dict[Annotated[str, Field(max_length=100)], Delivery], Field(max_length=200)]


@get("/notifications", allow=NOTIFICATIONS_READ, limit=per_minute(300))
async def list_notifications(query: ListNotifications, inbox: InboxService, principal: Principal) -> Page[NotificationView]:
    """List what you were told, newest first."""
    asked = PageQuery(limit=query.limit, cursor=query.cursor)
    return await (inbox.unread if query.unread else inbox.page)(asked, principal)


@patch("/notifications", allow=NOTIFICATIONS_WRITE, limit=per_minute(60))
async def mark_notifications(data: MarkNotifications, inbox: InboxService, principal: Principal) -> None:
    """Mark everything until a moment as read."""
    await inbox.mark_until(data.read_until, principal)


@patch("/notifications/{notification_id:uuid}", allow=NOTIFICATIONS_WRITE, limit=per_minute(300), errors=[UnknownNotification])
async def mark_notification(notification_id: UUID, data: MarkNotification, inbox: InboxService, principal: Principal) -> NotificationView:
    """Mark one as read, or as not read."""
    return await inbox.mark(notification_id, principal, read=data.read)


@get("/users/me/notifications/preferences", allow=NOTIFICATIONS_READ, limit=per_minute(300))
async def read_preferences(preferences: PreferenceService, principal: Principal) -> PreferencesView:
    """Read how you are told."""
    return await preferences.read(principal)


@put("/users/me/notifications/preferences", allow=NOTIFICATIONS_WRITE, limit=per_minute(60), errors=[NotYourChoice, StaleVersion])
async def choose_preferences(data: ChoosePreferences, preferences: PreferenceService, principal: Principal) -> PreferencesView:
    """Choose how you are told: at once, gathered by day or week, or not at all."""
    return await preferences.choose(data.locale, data.delivery, principal)


@get("/notifications/unsubscribe/{token:str}", allow=PUBLIC, limit=per_minute(60))
async def ask_before_ending(token: str) -> Answer:
    """Where a mail's link leads: a page with a button. Opening it changes nothing, for programs open links before people do."""
    return _page(
        f'<form method="post" action="{escape(token)}"><p>Don\'t send me these mails any more.</p><button>Unsubscribe</button></form>'
    )


@post("/notifications/unsubscribe/{token:str}", allow=PUBLIC, limit=per_minute(600), errors=[BrokenLink])
async def end_notifications(token: str, preferences: PreferenceService) -> Answer:
    """End mails of a kind by the link in one of them (RFC 8058)."""
    # Mail services do it for their people, many from one address.
    about = await preferences.end_by_link(token)
    return _page(f"<p>You get no more mails about this: {escape(about)}.</p>")


def _page(body: str) -> Answer:
    whole = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mails</title></head><body>{body}</body></html>'
    return Answer(200, whole.encode(), (_HTML, _FORM))
