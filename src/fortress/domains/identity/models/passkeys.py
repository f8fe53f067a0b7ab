"""Passkeys (WebAuthn Level 3)."""

from __future__ import annotations

from datetime import datetime

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Personal, Unique, Version
from fortress.domains.identity.contract import PasskeyTaken


class Passkey(Entity, frozen=True):
    """A key pair that a person's device, or their password manager, holds for this site.

    Attributes:
        name: what its owner calls it.
        credential_id: its own name, unique over all accounts.
        handle: what stands for the person in their passkeys: random, the same in all of them, and nothing personal.
        public_key: as COSE (RFC 9052).
        sign_count: what its counter said last; stays 0 where there is none.
        transports: how browsers may reach it.
        synced: whether it may be copied to other devices.
        backed_up: whether it was when last seen.
    """

    __tablename__ = "passkeys"
    __indexes__ = (
        Unique("passkeys_credential", "credential_id", raises=PasskeyTaken),
        Index("idx_passkeys_user", "user_id", "created_at", "id"),
    )

    id: Key
    user_id: Owner
    name: Personal[str]
    credential_id: bytes
    handle: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    synced: bool
    backed_up: bool
    created_at: CreatedAt
    used_at: datetime | None
    version: Version
