"""The tables. What is personal stands in the columns of `User` and in `Session.address` and `.agent`, and nowhere else."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fortress.data import CreatedAt, Entity, Index, Key, Owner, OwnKey, Text, Unique, Version, desc
from fortress.domains.identity.contract import EmailTaken, UserStatus


class EndedBy(StrEnum):
    """Why a session was revoked."""

    SIGN_OUT = "sign_out"
    OWNER = "owner"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - a reason, not a password
    ADMINISTRATOR = "administrator"
    REUSE = "reuse"


class User(Entity, frozen=True):
    """An account. The age is asked for at sign-up and not kept: that it was enough is all we need to know.

    Attributes:
        email_key: the address in the one form that is compared; unique.
        email: the address as it was given, which mail is sent to.
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
    password_hash: str
    status: UserStatus
    created_at: CreatedAt
    signed_in_at: datetime | None
    version: Version


class Session(Entity, frozen=True):
    """One sign-in, and the family of refresh tokens that came of it.

    Attributes:
        generation: which token of the family is good; grows by one with each refresh.
        token_hash: SHA-256 of that token.
        previous_hash: SHA-256 of the one before, which gets the same successor for a short time.
        expires_at: the end in any case; `idle_expires_at`: the end when it is not used before.
    """

    __tablename__ = "sessions"
    __indexes__ = (
        Index("idx_sessions_user", "user_id", desc("created_at"), desc("id"), where="revoked_at IS NULL"),
        Index("idx_sessions_expires", "expires_at"),
    )

    id: Key
    user_id: Owner
    created_at: CreatedAt
    used_at: datetime
    expires_at: datetime
    idle_expires_at: datetime
    generation: int
    token_hash: bytes
    previous_hash: bytes | None
    rotated_at: datetime | None
    revoked_at: datetime | None
    ended_by: EndedBy | None
    address: Annotated[str | None, Text(64)]
    agent: Annotated[str | None, Text(200)]


class ApiKey(Entity, frozen=True):
    """A key by which a service acts for its owner, within these scopes and what the owner may do at that moment.

    Attributes:
        prefix: the start of the key, by which people tell keys apart.
        digest: SHA-256 of the key.
        used_at: when it was last seen, to the hour or so.
    """

    __tablename__ = "api_keys"
    __indexes__ = (Index("idx_api_keys_user", "user_id", desc("created_at"), desc("id"), where="revoked_at IS NULL"),)

    id: Key
    user_id: Owner
    name: Annotated[str, Text(80)]
    prefix: Annotated[str, Text(40)]
    digest: bytes
    scopes: tuple[str, ...]
    created_at: CreatedAt
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
