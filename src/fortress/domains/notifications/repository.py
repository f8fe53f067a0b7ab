"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fortress.data import Repository, change, delete, insert, many, one, page, param, select, update
from fortress.domains.notifications.models import MailState, Notification, NotificationMark, NotificationSettings

PEOPLE_AT_ONCE = 500
MOST_EXPORTED = 10_000

_row, _now = Notification.c, param("now", datetime)
# With its time, so that one partition is looked into.
_this = (_row.id == param("id"), _row.created_at == param("at"))
_mine = _row.user_id == param("person")
_due = (_row.mail == MailState.GATHERING, _row.due_at <= _now)
_old_marks = select(NotificationMark.c.id).where(NotificationMark.c.created_at < param("before")).limit(1000)


class NotificationRepository(Repository[Notification]):
    """What people were told."""

    waiting = one(select(Notification).where(*_this, _row.mail == MailState.WAITING))
    listed = page(select(Notification).where(_mine, _row.listed), newest_first=_row.created_at)
    unread = page(select(Notification).where(_mine, _row.listed, _row.read_at.is_(None)), newest_first=_row.created_at)
    of_person = many(select(Notification).where(_row.user_id == param("person")).order_by(_row.created_at.desc()), limit=MOST_EXPORTED)
    due_people = many(select(_row.user_id).where(*_due).distinct(), into=UUID, limit=PEOPLE_AT_ONCE)

    settle = change(update(Notification).where(*_this, _row.mail == MailState.WAITING).values(mail=param("mail"), sent_at=param("sent_at")))
    settle_secret = change(
        update(Notification)
        .where(*_this, _row.mail == MailState.WAITING)
        .values(mail=param("mail"), sent_at=param("sent_at"), data=None, address=None)
    )
    postpone = change(
        update(Notification)
        .where(*_this, _row.mail == MailState.WAITING)
        .values(mail=MailState.GATHERING, due_at=param("due_at", datetime))
    )
    gather = change(update(Notification).where(_mine, *_due).values(mail=MailState.GATHERED).returning(*Notification.c))
    mark = change(
        update(Notification)
        .where(_mine, _row.id == param("id"), _row.listed)
        .values(read_at=param("read_at", datetime))
        .returning(*Notification.c)
    )
    mark_until = change(
        update(Notification).where(_mine, _row.listed, _row.read_at.is_(None), _row.created_at <= param("until")).values(read_at=_now)
    )
    erase = change(delete(Notification).where(_row.user_id == param("person")))


class MarkRepository(Repository[NotificationMark]):
    """For what people were told already."""

    # Of two at once the second waits here until the first is committed, and finds nothing to do.
    claim = change(
        insert(NotificationMark)
        .values(id=param("id"), user_id=param("person"), kind=param("kind"), once=param("once"), created_at=_now)
        .on_conflict_do_nothing(index_elements=["user_id", "kind", "once"])
        .returning(NotificationMark.c.id),
        into=UUID,
    )
    forget = change(delete(NotificationMark).where(NotificationMark.c.id.in_(_old_marks)))
    erase = change(delete(NotificationMark).where(NotificationMark.c.user_id == param("person")))


class SettingsRepository(Repository[NotificationSettings]):
    """How people want to be told."""

    of = one(select(NotificationSettings).where(NotificationSettings.c.id == param("person")))
    accepted = change(
        update(NotificationSettings)
        .where(NotificationSettings.c.id == param("person"), NotificationSettings.c.refused.is_not(None))
        .values(refused=None, refused_at=None, version=NotificationSettings.c.version + 1)
    )
    erase = change(delete(NotificationSettings).where(NotificationSettings.c.id == param("person")))
