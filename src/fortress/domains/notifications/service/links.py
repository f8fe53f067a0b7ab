"""Links in mails by which one click, without signing in, ends mails of a kind (RFC 8058).

A link says whose it is and of what kind, and a MAC of both. Whoever has it can switch off those mails and nothing else, so it may
stand in a URL; it works for as long as the master key counts that it was made with.
"""

from __future__ import annotations

import hmac
from typing import Any, Final
from uuid import UUID

from fortress.domains.notifications.contract import BrokenLink
from fortress.errors import FieldError
from fortress.mail import Kinds, NotificationKind
from fortress.security.encoding import framed, from_base64url, to_base64url
from fortress.security.keys import KeyRing
from fortress.settings import Settings

_PURPOSE: Final = "unsubscribe"
_PATH: Final = "/api/v1/notifications/unsubscribe/"
_ID_BYTES: Final = 16
_MAC_BYTES: Final = 32


class Links:
    """Makes the links, and takes them back."""

    def __init__(self, ring: KeyRing, kinds: Kinds, settings: Settings) -> None:
        self._ring = ring
        self._kinds = kinds
        self._origin = settings.origin

    def unsubscribe(self, person: UUID, kind: NotificationKind[Any]) -> str:
        """The address that ends mails of this kind to this person."""
        return f"{self._origin}{_PATH}{self.token(person, kind)}"

    def token(self, person: UUID, kind: NotificationKind[Any]) -> str:
        """The last part of that address."""
        mac = self._macs(person, kind.name)[0]
        return to_base64url(person.bytes + mac + kind.name.encode())

    def read(self, token: str) -> tuple[UUID, NotificationKind[Any]]:
        """Whose link it is, and of what kind. Raises BrokenLink."""
        try:
            whole = from_base64url(token)
            person, mac, name = (
                UUID(bytes=whole[:_ID_BYTES]),
                whole[_ID_BYTES : _ID_BYTES + _MAC_BYTES],
                whole[_ID_BYTES + _MAC_BYTES :].decode(),
            )
        except ValueError:
            raise _broken() from None
        kind = self._kinds.get(name)
        if kind is None or not any(hmac.compare_digest(mac, known) for known in self._macs(person, name)):
            raise _broken()
        return person, kind

    def _macs(self, person: UUID, kind: str) -> list[bytes]:
        """By every key that counts; the one in use first."""
        told = framed(person.bytes, kind.encode())
        return [hmac.digest(key.material.reveal(), told, "sha256") for key in self._ring.secrets(_PURPOSE)]


def _broken() -> BrokenLink:
    return BrokenLink([FieldError("/token", "This link does not work", "link.broken")])
