"""The door. Other domains call this and nothing else."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar
from uuid import UUID

import msgspec

from fortress.data import Unit
from fortress.errors import Invalid, NotFound
from fortress.mail import NotificationData, NotificationKind
from fortress.security import SESSION_ONLY, Permission

D = TypeVar("D", bound=NotificationData)

NOTIFICATIONS_READ: Final = Permission("notifications:read", "See what one was told, and how one is told")
NOTIFICATIONS_WRITE: Final = Permission(
    "notifications:write", "Mark as read what one was told, and choose how one is told", by=SESSION_ONLY
)


class Notifications(Protocol):
    """Tells people what concerns them."""

    async def tell(
        self, unit: Unit, person: UUID, kind: NotificationKind[D], data: D, *, once: str | None = None, to: str | None = None
    ) -> None:
        """Tell somebody, if and when the unit is committed. A mail goes out after that, and never keeps anybody waiting.

        Args:
            unit: what this is part of.
            person: who is told.
            kind: what of; one that a domain declares.
            data: what its template is filled with. Kept encrypted by the person's own key; of a secret kind until the mail is out.
            once: what it is told for, such as the id of a fact: it is told once for that, however often this is called.
                Nothing personal.
            to: another address than the person's own; then it is in no list of theirs.
        """
        ...


class Recipient(msgspec.Struct, frozen=True):
    """Somebody as mails know them.

    Attributes:
        active: False while their account is disabled: they are told of its safety only.
    """

    email: str
    name: str | None
    active: bool

    def __repr__(self) -> str:
        return "<Recipient>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class AddressBook(Protocol):
    """Where people's mail goes; the domain that keeps accounts stands behind it."""

    async def recipient(self, person: UUID) -> Recipient | None:
        """The person as they are at this moment; None when there is nobody any more."""
        ...


class UnknownNotification(NotFound):
    """There is no such notification of yours."""

    code, title = "notifications.not_found", "There is no such notification"


class NotYourChoice(Invalid):
    """There is no such kind, or it is about the safety of accounts: nobody can switch that off."""

    code, title = "notifications.not_your_choice", "This can't be chosen"


class BrokenLink(Invalid):
    """The link is not one of ours."""

    code, title = "notifications.broken_link", "This link does not work"
