"""Second factors: authenticator apps and recovery codes."""

from __future__ import annotations

from datetime import datetime

from fortress.data import CreatedAt, Entity, Index, Key, Owner, OwnKey, Personal


class Authenticator(Entity, frozen=True):
    """A person's authenticator app (TOTP, RFC 6238).

    Attributes:
        secret: the 160 bits that the app and we share.
        confirmed_at: when a code of the app was shown; before that it counts for nothing.
        last_step: the time step of the last code that was accepted; neither it nor one before it is accepted again.
        misses: wrong codes since `missed_since`, over all sign-ins.
    """

    __tablename__ = "authenticators"

    user_id: OwnKey
    secret: Personal[bytes]
    created_at: CreatedAt
    confirmed_at: datetime | None
    last_step: int
    misses: int
    missed_since: datetime


class RecoveryCode(Entity, frozen=True):
    """A code that stands in for a second factor once; its row goes when it is used.

    Attributes:
        digest: SHA-256 of the code, which has 120 random bits (ASVS V6.5.2).
    """

    __tablename__ = "recovery_codes"
    __indexes__ = (Index("idx_recovery_codes_user", "user_id", "digest"),)

    id: Key
    user_id: Owner
    digest: bytes
    created_at: CreatedAt
