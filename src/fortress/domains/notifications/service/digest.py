"""What a digest is."""

from __future__ import annotations

from typing import Final

from fortress.mail import NotificationData, NotificationKind

MOST_TOLD: Final = 50


class Told(NotificationData, frozen=True):
    """One notification in a digest."""

    subject: str
    text: str


class Digest(NotificationData, frozen=True):
    """What came together.

    Attributes:
        told: the first of it, the oldest first.
        more: how much there is beside it.
    """

    told: tuple[Told, ...]
    more: int


# Its data repeat what stands in the list anyway, so they are forgotten once it is out.
DIGEST: Final = NotificationKind(
    "notifications.digest", "What came together", Digest((Told("Your order A-1", "It is on its way.\n"),), 1), secret=True
)
