"""The tables. One declaration is the stored value and the table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fortress.data import CreatedAt, Entity, Index, Key, Owner, OwnKey, Personal, Text, Unique, Version, desc

KEY_LENGTH = 200


class MailState(StrEnum):
    """How far a notification has come by mail.

    Attributes:
        WAITING: a job is to send it.
        GATHERING: it waits for the next digest.
        GATHERED: it went into one.
        SENT: a mail server has taken it.
        REFUSED: none ever will.
        NONE: the person does not want it by mail, or has no address that takes any.
    """

    WAITING = "waiting"
    GATHERING = "gathering"
    GATHERED = "gathered"
    SENT = "sent"
    REFUSED = "refused"
    NONE = "none"


class Notification(Entity, frozen=True):
    """One person was told of one thing.

    Attributes:
        kind: the name of its NotificationKind.
        data: the kind's data as JSON; None once they are forgotten.
        address: where it goes instead of the person's own address.
        listed: whether the person sees it in their list.
        due_at: when a digest is to take it, at the earliest.
    """

    __tablename__ = "notifications"
    __partition_by__ = "created_at"
    __keep_months__ = 13
    __indexes__ = (
        Index("idx_notifications_user", "user_id", desc("created_at"), desc("id")),
        Index("idx_notifications_due", "due_at", where="mail = 'gathering'"),
    )

    id: Key
    user_id: Owner
    kind: str
    data: Personal[str | None]
    address: Personal[str | None]
    listed: bool
    mail: MailState
    due_at: datetime | None
    sent_at: datetime | None
    read_at: datetime | None
    created_at: CreatedAt


class NotificationMark(Entity, frozen=True):
    """For what somebody was told already. Beside the notifications, for nothing is unique over the months of a partitioned table."""

    __tablename__ = "notification_marks"
    __indexes__ = (Unique("notification_marks_once", "user_id", "kind", "once"), Index("idx_notification_marks_created", "created_at"))

    id: Key
    user_id: Owner
    kind: str
    once: Annotated[str, Text(KEY_LENGTH)]
    created_at: CreatedAt


class NotificationSettings(Entity, frozen=True):
    """How a person wants to be told; who never chose has no row.

    Attributes:
        locale: the language of their mails; None: English.
        choices: how they are told of the kinds that they chose for, by the kinds' names.
        refused: the address of theirs that a mail server said nobody has; while it is theirs only what they must know is sent.
    """

    __tablename__ = "notification_settings"

    id: OwnKey
    locale: str | None
    choices: dict[str, str]
    refused: Personal[str | None]
    refused_at: datetime | None
    version: Version
