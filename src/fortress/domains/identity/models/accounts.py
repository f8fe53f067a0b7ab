"""Accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fortress.data import CreatedAt, Entity, Index, OwnKey, Text, Unique, Version, desc
from fortress.domains.identity.contract import EmailTaken, UserStatus


class User(Entity, frozen=True):
    """An account. The age is asked for at sign-up and not kept: that it was enough is all we need to know.

    Attributes:
        email_key: the address in the one form that is compared; unique.
        email: the address as it was given, which mail is sent to.
        password_hash: None for people who sign in by other means only.
    """

    __tablename__ = "users"
    __indexes__ = (
        Unique("users_email_key", "email_key", raises=EmailTaken),
        Index("idx_users_created", desc("created_at"), desc("id")),
    )

    id: OwnKey
    email_key: Annotated[str, Text(254)]
    email: Annotated[str, Text(254)]
    name: Annotated[str | None, Text(80)]
    password_hash: str | None
    status: UserStatus
    created_at: CreatedAt
    signed_in_at: datetime | None
    version: Version
