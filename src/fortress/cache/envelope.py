"""How an answer is written down in Redis: bound to its place, so that nothing else that is found there can pass for it.

    tag (16) | format (1) | compressed (1) | microseconds of the load (8) | number of tokens (1) | tokens (16 each) | answer

The tag is a keyed BLAKE2b (RFC 7693) over the place and the rest. What was written by another release, by somebody else, or to
another place fails it, and counts as nothing: also an answer that a confused connection gives to another question.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from typing import Final

import msgspec

TOKEN: Final = 16
COMPRESS_FROM: Final = 2048
LARGEST: Final = 1_048_576
_TAG: Final = 16
_FORMAT: Final = 1
_HEAD: Final = 27
_PLACE: Final = b"fortress.place"
_SEAL: Final = b"fortress.answer"


class Opened(msgspec.Struct, frozen=True):
    """What an envelope held: the tokens in force when the load began, its seconds, and the packed answer."""

    tokens: tuple[bytes, ...]
    took: float
    packed: bytes


class Envelopes:
    """Closes and opens them.

    Args:
        secret: 16 to 64 bytes, the same in every process.
    """

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 64:
            raise ValueError("the cache's secret needs 16 to 64 bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "Envelopes()"

    def place(self, *parts: bytes) -> bytes:
        """A name that only these parts in this order have, and that tells nothing of them."""
        framed = hashlib.blake2b(digest_size=32, key=self._secret, person=_PLACE)
        for part in parts:
            framed.update(len(part).to_bytes(8, "big") + part)
        return framed.hexdigest().encode()

    def close(self, place: bytes, tokens: tuple[bytes, ...], took: float, packed: bytes) -> bytes | None:
        """The envelope; None when the answer is too large to be shared."""
        if len(packed) > LARGEST:
            return None
        compressed = zlib.compress(packed, 1) if len(packed) >= COMPRESS_FROM else packed
        smaller = len(compressed) < len(packed)
        microseconds = min(int(took * 1e6), 2**63)
        head = bytes((_FORMAT, smaller)) + microseconds.to_bytes(8, "big") + bytes((len(tokens),))
        rest = head + b"".join(tokens) + (compressed if smaller else packed)
        return self._tag(place, rest) + rest

    def open(self, place: bytes, sealed: bytes) -> Opened | None:
        """What it holds; None when it is not one of ours for this place, or of another format."""
        tag, rest = sealed[:_TAG], sealed[_TAG:]
        if len(sealed) < _HEAD or not hmac.compare_digest(tag, self._tag(place, rest)) or rest[0] != _FORMAT:
            return None
        end = 11 + rest[10] * TOKEN
        tokens = tuple(rest[start : start + TOKEN] for start in range(11, end, TOKEN))
        packed = _inflated(rest[end:]) if rest[1] else rest[end:]
        return None if packed is None else Opened(tokens, int.from_bytes(rest[2:10], "big") / 1e6, packed)

    def _tag(self, place: bytes, rest: bytes) -> bytes:
        return hashlib.blake2b(place + rest, digest_size=_TAG, key=self._secret, person=_SEAL).digest()


def _inflated(compressed: bytes) -> bytes | None:
    reader = zlib.decompressobj()
    try:
        packed = reader.decompress(compressed, LARGEST + 1)
    except zlib.error:
        return None
    return packed if len(packed) <= LARGEST and reader.eof else None
