"""Refresh tokens: opaque, derived from session and generation, stored only as a hash.

    fr_ + base64url( version 1 B ‖ key id 4 B ‖ session 16 B ‖ generation 4 B ‖ HMAC-SHA-256 32 B )

Whoever holds the ring's key can make the same token again, so a repeat within the grace gets the very same successor
although nobody stored it. 57 bytes are 76 letters without a spare bit: each token has one spelling.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from typing import Final
from uuid import UUID

import msgspec

from fortress.security.encoding import from_base64url, to_base64url
from fortress.security.keys import DerivedKey, KeyRing
from fortress.security.refusals import InvalidToken

PREFIX: Final = "fr_"
MAX_GENERATION: Final = 2**32 - 1
_PURPOSE: Final = "refresh"
_VERSION: Final = 1
_BODY: Final = struct.Struct(">BI16sI")
_SHAPE: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{76}", re.ASCII)


class RefreshToken(msgspec.Struct, frozen=True):
    """A refresh token that we made: its session, its place in the session's row of tokens, and what is stored of it."""

    session_id: UUID
    generation: int
    digest: bytes


class RefreshTokens:
    """Makes and reads refresh tokens. Whether one is still good is for the session's row to say.

    Args:
        ring: the masters that the signing key is derived from.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def issue(self, session_id: UUID, generation: int) -> str:
        """The token of this generation, by the key in use now.

        Raises:
            ValueError: the generation is not within 0 and MAX_GENERATION.
        """
        return _make(self._ring.secret(_PURPOSE), session_id, generation)

    def again(self, session_id: UUID, generation: int, digest: bytes) -> str | None:
        """The token of this generation whose digest was stored, made once more; None when no key that counts made it."""
        for key in self._ring.secrets(_PURPOSE):
            text = _make(key, session_id, generation)
            if matches(digest_of(text), digest):
                return text
        return None

    def read(self, text: str) -> RefreshToken:
        """What the token says, if we made it.

        Raises:
            InvalidToken: whatever is wrong with it.
        """
        if not _SHAPE.fullmatch(text):
            raise InvalidToken
        raw = from_base64url(text.removeprefix(PREFIX))
        body, mac = raw[: _BODY.size], raw[_BODY.size :]
        version, key_id, session, generation = _BODY.unpack(body)
        key = self._ring.secret_by_id(_PURPOSE, key_id)
        if version != _VERSION or key is None or not hmac.compare_digest(_mac(key, body), mac):
            raise InvalidToken
        return RefreshToken(UUID(bytes=session), generation, digest_of(text))


def digest_of(text: str) -> bytes:
    """SHA-256 of the token: all that is stored. The token's secret has 256 bits, so a fast hash is enough (ASVS V6.5.2)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def matches(digest: bytes, stored: bytes) -> bool:
    """Whether two digests are the same, in constant time."""
    return hmac.compare_digest(digest, stored)


def _make(key: DerivedKey, session_id: UUID, generation: int) -> str:
    if not 0 <= generation <= MAX_GENERATION:
        raise ValueError(f"a generation is within 0 and {MAX_GENERATION}")
    body = _BODY.pack(_VERSION, key.id, session_id.bytes, generation)
    return PREFIX + to_base64url(body + _mac(key, body))


def _mac(key: DerivedKey, body: bytes) -> bytes:
    return hmac.digest(key.material.reveal(), body, "sha256")
