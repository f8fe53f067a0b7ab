"""Accounts."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated

from fortress.data import Blind, CreatedAt, Entity, Index, OwnKey, Personal, Unique, Version, desc
from fortress.domains.identity.contract import EmailTaken, UserStatus
from fortress.domains.identity.models.addresses import comparable


def folded(name: str) -> str:
    """The form in which names are compared: letters that look the same are, in whatever case (Unicode's NFKC, folded)."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


class User(Entity, frozen=True):
    """An account. The age is asked for at sign-up and not kept: that it was enough is all we need to know.

    Attributes:
        email: the address as it was given, which mail is sent to.
        email_key: finds it in whatever spelling; unique.
        name_key: finds everybody of a name, in whatever case.
        password_hash: None for people who sign in by other means only.
        verified_at: when the address was proved to be theirs.
    """

    __tablename__ = "users"
    __indexes__ = (
        Unique("users_email_key", "email_key", raises=EmailTaken),
        Index("idx_users_name_key", "name_key", where="name_key IS NOT NULL"),
        Index("idx_users_created", desc("created_at"), desc("id")),
    )

    id: OwnKey
    email: Personal[str]
    name: Personal[str | None]
    password_hash: str | None
    status: UserStatus
    created_at: CreatedAt
    signed_in_at: datetime | None
    version: Version
    email_key: Annotated[bytes, Blind("email", comparable)] = b""
    name_key: Annotated[bytes | None, Blind("name", folded)] = None
    verified_at: datetime | None = None
