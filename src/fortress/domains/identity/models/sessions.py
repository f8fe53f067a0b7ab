"""Sign-ins."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Personal, desc


class EndedBy(StrEnum):
    """Why a session was revoked."""

    SIGN_OUT = "sign_out"
    OWNER = "owner"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - a reason, not a password
    ADMINISTRATOR = "administrator"
    REUSE = "reuse"
    FACTOR_CHANGE = "factor_change"
    PROVED_ANEW = "proved_anew"
    TOO_MANY = "too_many"


class Session(Entity, frozen=True):
    """One sign-in, and the family of refresh tokens that came of it.

    Attributes:
        generation: which token of the family is good; grows by one with each refresh.
        token_hash: SHA-256 of that token.
        previous_hash: SHA-256 of the one before, which gets the same successor for a short time.
        proved_at: when the person last proved who they are, at the sign-in or since.
        factors: how many factors that proof had.
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
    proved_at: datetime
    factors: int
    expires_at: datetime
    idle_expires_at: datetime
    generation: int
    token_hash: bytes
    previous_hash: bytes | None
    rotated_at: datetime | None
    revoked_at: datetime | None
    ended_by: EndedBy | None
    address: Personal[str | None]
    agent: Personal[str | None]
