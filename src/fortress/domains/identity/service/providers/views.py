"""What of providers and identities is shown; who one is elsewhere only to oneself, in the export."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.domains.identity.models import Identity
from fortress.domains.identity.service.providers.kinds import Provider


class ProviderView(msgspec.Struct, frozen=True):
    """Somebody whom one can sign in with: the name in our addresses, and what people call it."""

    name: str
    title: str


class BegunView(msgspec.Struct, frozen=True):
    """Where to go to prove who one is."""

    authorization_url: str

    def __repr__(self) -> str:
        return "BegunView(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class IdentityView(msgspec.Struct, frozen=True):
    """One of the caller's identities elsewhere."""

    id: UUID
    provider: str
    created_at: datetime
    used_at: datetime | None


class HeldIdentity(IdentityView, frozen=True):
    """All that is kept of an identity, for its owner's export."""

    issuer: str
    subject: str

    def __repr__(self) -> str:
        return f"<HeldIdentity {self.id}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


def provider_view(provider: Provider) -> ProviderView:
    return ProviderView(provider.name, provider.title)


def identity_view(identity: Identity) -> IdentityView:
    return IdentityView(identity.id, identity.provider, identity.created_at, identity.used_at)


def held_view(identity: Identity) -> HeldIdentity:
    return HeldIdentity(identity.id, identity.provider, identity.created_at, identity.used_at, identity.issuer, identity.subject)
