"""Telling people: a row beside what it tells of, and a job that sends it, in the same commit."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from fortress.clock import Clock, Ids
from fortress.data import Unit
from fortress.domains.notifications.contract import Notifications
from fortress.domains.notifications.models import KEY_LENGTH, MailState, Notification
from fortress.domains.notifications.repository import MarkRepository, NotificationRepository
from fortress.domains.notifications.service.sending_jobs import send_notification, send_urgently
from fortress.mail import Kinds, NotificationData, NotificationKind

D = TypeVar("D", bound=NotificationData)


class NotificationService(Notifications):
    """The door. It asks nothing of anybody: who the person is and what they wish is the job's matter, so that a unit costs no more."""

    def __init__(self, notifications: NotificationRepository, marks: MarkRepository, kinds: Kinds, clock: Clock, ids: Ids) -> None:
        self._notifications = notifications
        self._marks = marks
        self._kinds = kinds
        self._clock = clock
        self._ids = ids

    async def tell(
        self, unit: Unit, person: UUID, kind: NotificationKind[D], data: D, *, once: str | None = None, to: str | None = None
    ) -> None:
        """See the contract. One round trip where `once` is given; else none of its own beside the job's.

        Raises:
            LookupError: no domain declares the kind.
            ValueError: `once` has more than 200 characters.
        """
        if self._kinds.get(kind.name) is not kind:
            raise LookupError(f"no domain declares the notification {kind.name}: notifications=[…] in its manifest")
        if once is not None and not await self._first(unit, person, kind.name, once):
            return
        told = Notification(
            id=self._ids.new(),
            user_id=person,
            kind=kind.name,
            data=kind.written(data),
            address=to,
            listed=to is None and not kind.secret,
            mail=MailState.WAITING,
            due_at=None,
            sent_at=None,
            read_at=None,
            created_at=self._clock.now(),
        )
        await self._notifications.add(unit, told)
        # The queue holds an id: what it is about, and whose it is, is in the row, encrypted.
        unit.enqueue(send_urgently if kind.security else send_notification, id=told.id, at=told.created_at)

    async def _first(self, unit: Unit, person: UUID, kind: str, once: str) -> bool:
        if not 0 < len(once) <= KEY_LENGTH:
            raise ValueError(f"what somebody is told for has at most {KEY_LENGTH} characters")
        given = {"id": self._ids.new(), "person": person, "kind": kind, "once": once, "now": self._clock.now()}
        return bool(await self._marks.claim(unit, **given))
