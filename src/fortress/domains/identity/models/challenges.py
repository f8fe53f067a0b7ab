"""Questions that were asked of somebody and not answered yet."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from fortress.data import Entity, Index, Key, Unique


class Purpose(StrEnum):
    """What an answer to a challenge is for; it is good for nothing else."""

    SECOND_STEP = "second_step"
    PASSKEY_SIGN_IN = "passkey_sign_in"
    PASSKEY_SECOND_STEP = "passkey_second_step"
    PASSKEY_PROOF = "passkey_proof"
    PASSKEY_NEW = "passkey_new"


class Challenge(Entity, frozen=True):
    """A question with a short life, answered once.

    Attributes:
        digest: SHA-256 of its token; a passkey's challenge is its token.
        user_id: who is asked; None: whoever can answer.
        within: what it is a part of: a second step's challenge, or a session.
        state: digest of the password that was proved before it; it dies with a change of that.
        handle: of a passkey to be made.
        tries: how often an answer came.
    """

    __tablename__ = "challenges"
    __indexes__ = (
        Unique("challenges_digest", "digest"),
        Index("idx_challenges_expires", "expires_at"),
        Index("idx_challenges_user", "user_id", where="user_id IS NOT NULL"),
    )

    id: Key
    purpose: Purpose
    digest: bytes
    user_id: UUID | None
    within: UUID | None
    state: bytes | None
    handle: bytes | None
    tries: int
    expires_at: datetime
