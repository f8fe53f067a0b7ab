"""What is proved by mail: tokens, and changes of an address that wait for both ends."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Personal, Unique


class MailedPurpose(StrEnum):
    """What a mailed token is for."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a purpose, not a password


class MailedToken(Entity, frozen=True):
    """A token that was sent to an account's address, and can be used once. Several may wait: nobody ends the owner's by asking.

    Attributes:
        digest: SHA-256 of the token, which has 256 random bits.
        bound: a keyed digest of what the token changes, as it was when it was sent; when that is another, the token is worth nothing.
    """

    __tablename__ = "mailed_tokens"
    __indexes__ = (
        Unique("mailed_tokens_digest", "digest"),
        Index("idx_mailed_tokens_user", "user_id", "purpose"),
        Index("idx_mailed_tokens_expires", "expires_at"),
    )

    id: Key
    user_id: Owner
    purpose: MailedPurpose
    digest: bytes
    bound: bytes
    created_at: CreatedAt
    expires_at: datetime


class EmailChange(Entity, frozen=True):
    """An address that shall replace an account's, once the holders of both have said so; one for each account.

    Attributes:
        bound: as a MailedToken's.
        old_digest, new_digest: SHA-256 of the tokens sent to the address that is and the one that shall be.
        old_proved_at, new_proved_at: when they came back.
    """

    __tablename__ = "email_changes"
    __indexes__ = (
        Unique("email_changes_user", "user_id"),
        Unique("email_changes_old", "old_digest"),
        Unique("email_changes_new", "new_digest"),
        Index("idx_email_changes_expires", "expires_at"),
    )

    id: Key
    user_id: Owner
    new_email: Personal[str]
    bound: bytes
    old_digest: bytes
    new_digest: bytes
    old_proved_at: datetime | None
    new_proved_at: datetime | None
    created_at: CreatedAt
    expires_at: datetime
