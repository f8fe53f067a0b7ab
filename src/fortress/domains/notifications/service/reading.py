"""What people were told, in words."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.domains.notifications.models import Notification
from fortress.domains.notifications.service.digest import Told
from fortress.errors import CannotStart
from fortress.mail import Kinds, Templates


class NotificationView(msgspec.Struct, frozen=True):
    """One thing that somebody was told, in their language.

    Attributes:
        read_at: when they said that they have read it.
    """

    id: UUID
    kind: str
    subject: str
    text: str
    created_at: datetime
    read_at: datetime | None

    def __repr__(self) -> str:
        return f"<NotificationView {self.id}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


class NotificationReader:
    """Puts notifications into words."""

    def __init__(self, kinds: Kinds, templates: Templates) -> None:
        self._kinds = kinds
        self._templates = templates

    def view(self, one: Notification, locale: str | None) -> NotificationView:
        """As its person sees it."""
        told = self.told(one, locale)
        return NotificationView(one.id, one.kind, told.subject, told.text, one.created_at, one.read_at)

    def told(self, one: Notification, locale: str | None) -> Told:
        """Its words; where this release has none for it any more, what it was about."""
        kind = self._kinds.get(one.kind)
        if kind is None or one.data is None:
            return Told(kind.title if kind else one.kind, "")
        try:
            letter = self._templates.letter(kind, kind.read(one.data), locale)
        except (CannotStart, msgspec.ValidationError):
            # Told by an older release with other data, for which today's template has no words.
            return Told(kind.title, "")
        return Told(letter.subject, letter.text)
