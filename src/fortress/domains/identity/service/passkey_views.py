"""What of a passkey is shown; its key and its handle never are."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.domains.identity.models import Passkey


class PasskeyView(msgspec.Struct, frozen=True):
    """One of the caller's passkeys.

    Attributes:
        synced: whether it may be on several of your devices.
        backed_up: whether it was when last seen.
    """

    id: UUID
    name: str
    created_at: datetime
    used_at: datetime | None
    synced: bool
    backed_up: bool


class NewPasskeyView(PasskeyView, frozen=True):
    """A passkey just added; with recovery codes, which are never shown again, when you had none."""

    recovery_codes: list[str]

    def __repr__(self) -> str:
        return f"NewPasskeyView({self.id})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


def passkey_view(passkey: Passkey) -> PasskeyView:
    """A passkey as its owner sees it."""
    return PasskeyView(passkey.id, passkey.name, passkey.created_at, passkey.used_at, passkey.synced, passkey.backed_up)


def new_passkey_view(passkey: Passkey, codes: list[str]) -> NewPasskeyView:
    """A passkey just added, with the recovery codes that came with it."""
    return NewPasskeyView(**msgspec.structs.asdict(passkey_view(passkey)), recovery_codes=codes)
