"""The keys that wrap other keys: the key ring's own, or a key service's (ASVS V11.2.2, V11.3.3, V13.3.3).

What a wrapped key belongs to is its context: it is bound to the blob, so that a wrapped key that is moved to another
place is refused like one that was tampered with.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fortress.errors import CannotStart, FortressError
from fortress.security.encoding import framed
from fortress.security.keymaterial import WrappingRecord
from fortress.security.keys import KeyRing

RING: Final = "ring"
_PURPOSE: Final = b"fortress/wrapped-key/1"
_NONCE_BYTES: Final = 12
_SHORTEST_BLOB: Final = _NONCE_BYTES + 16


class Unreadable(FortressError):
    """What is kept can't be read: tampered with, moved, or of a key that is not ours or was destroyed. One error for all (ASVS V11.2.5)."""

    def __init__(self) -> None:
        super().__init__("what is kept can't be read")


class WrappedKey(msgspec.Struct, frozen=True):
    """A key under another one: the id of that one, and what only it can open."""

    key_id: str
    blob: bytes

    def __repr__(self) -> str:
        return f"WrappedKey({self.key_id}, hidden)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("key_id", self.key_id)]


class Wrapping(Protocol):
    """The keys that wrap other keys: of the key ring's file, or of a key service."""

    @property
    def current(self) -> str:
        """The id of the key that wraps now, its kind in front (`ring:…`); another one after a rotation."""
        ...

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        """`key` (1 to 1024 bytes) under the current key, bound to `context`.

        Raises:
            Unavailable: the key service does not answer.
        """
        ...

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The key that was wrapped with this very context.

        Raises:
            Unreadable: it was tampered with or moved, or its wrapping key is not ours or was destroyed.
            Unavailable: the key service does not answer.
        """
        ...


class RingWrapping:
    """Keys wrapped by the key ring's own: AES-256-GCM, a random 96 bit nonce, the context and the key's id as associated data.

    Raises:
        CannotStart: the ring is of an older release and holds no key that wraps.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._now()

    def __repr__(self) -> str:
        return f"RingWrapping({self.current})"

    @property
    def current(self) -> str:
        return f"{RING}:{self._now().id}"

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        record = self._now()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = _cipher(record).encrypt(nonce, key, _bound(record, context))
        return WrappedKey(f"{RING}:{record.id}", nonce + sealed)

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        kind, _, id = wrapped.key_id.partition(":")
        record = self._ring.wrapping_key(id) if kind == RING else None
        if record is None or len(wrapped.blob) < _SHORTEST_BLOB:
            raise Unreadable
        try:
            return _cipher(record).decrypt(wrapped.blob[:_NONCE_BYTES], wrapped.blob[_NONCE_BYTES:], _bound(record, context))
        except InvalidTag:
            raise Unreadable from None

    def _now(self) -> WrappingRecord:
        known = self._ring.wrapping_keys()
        if not known:
            raise CannotStart("the key ring is of an older release: it holds no key that wraps others", hint="fortress keys upgrade")
        return known[0]


def _cipher(record: WrappingRecord) -> AESGCM:
    return AESGCM(record.secret.reveal())


def _bound(record: WrappingRecord, context: bytes) -> bytes:
    return framed(_PURPOSE, record.id.encode(), context)
