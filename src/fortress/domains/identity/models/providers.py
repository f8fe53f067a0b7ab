"""Sign-in with others: who people are elsewhere, and sign-ins that are under way."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fortress.data import CreatedAt, Entity, Index, Key, Owner, Text, Unique
from fortress.domains.identity.contract import IdentityTaken


class Identity(Entity, frozen=True):
    """Somebody else's account of a person, by which they may sign in. Nothing else that a provider says of them is kept.

    Attributes:
        issuer, subject: its one name; no two issuers share one, whatever their subjects are (ASVS V6.8.1).
        provider: by which of the configured ones it came.
        used_at: when the person last signed in with it.
    """

    __tablename__ = "identities"
    __indexes__ = (
        Unique("identities_issuer_subject", "issuer", "subject", raises=IdentityTaken),
        Index("idx_identities_user", "user_id", "created_at", "id"),
    )

    id: Key
    user_id: Owner
    provider: Annotated[str, Text(32)]
    issuer: Annotated[str, Text(500)]
    subject: Annotated[str, Text(255)]
    created_at: CreatedAt
    used_at: datetime | None


class FlowPurpose(StrEnum):
    """What a sign-in with a provider is for."""

    SIGN_IN = "sign_in"
    LINK = "link"


class ProviderFlow(Entity, frozen=True):
    """A sign-in with a provider that was begun; taken once, by the browser that began it.

    Attributes:
        state_digest: SHA-256 of the state that the provider sends back.
        browser_digest: SHA-256 of what the browser keeps in its cookie; nonce and verifier are made of that and the state.
        max_age: how many seconds ago the person may have proved who they are to the provider; None: any time.
        return_to: the path of ours where the browser goes in the end.
        user_id, session_id: for whom, and in which session, an identity is to be linked.
    """

    __tablename__ = "provider_flows"
    __indexes__ = (
        Unique("provider_flows_state", "state_digest"),
        Index("idx_provider_flows_expires", "expires_at"),
    )

    id: Key
    state_digest: bytes
    browser_digest: bytes
    provider: Annotated[str, Text(32)]
    purpose: FlowPurpose
    max_age: int | None
    return_to: Annotated[str, Text(200)]
    user_id: UUID | None
    session_id: UUID | None
    expires_at: datetime
