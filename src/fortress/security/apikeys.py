"""API keys: `fort_<id>_<secret><checksum>`, shown once and stored as a hash.

The id names the row, the secret has 190 bits, the checksum (CRC-32 in base62, as GitHub's tokens have) lets scanners
and us tell a key from noise without asking a database: `fort_[0-9A-Za-z]{22}_[0-9A-Za-z]{38}`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from typing import Final
from uuid import UUID

import msgspec

from fortress.security.encoding import BASE62, from_base62, to_base62
from fortress.security.refusals import InvalidToken

PREFIX: Final = "fort_"
_ID_DIGITS: Final = 22
_SECRET_DIGITS: Final = 32
_CHECK_DIGITS: Final = 6
_SHAPE: Final = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_ID_DIGITS}}})_[0-9A-Za-z]{{{_SECRET_DIGITS + _CHECK_DIGITS}}}", re.ASCII)
_UUIDS: Final = 2**128
_NO_DIGEST: Final = bytes(hashlib.sha256().digest_size)


class NewApiKey(msgspec.Struct, frozen=True):
    """A key just made: `text` is for its owner, once; `digest` is stored; `prefix` may be shown to tell keys apart."""

    id: UUID
    text: str
    digest: bytes
    prefix: str

    def __repr__(self) -> str:
        return f"NewApiKey({self.prefix})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("prefix", self.prefix)]


class PresentedKey(msgspec.Struct, frozen=True):
    """A well-formed key that somebody came with: look up `id`, then ask `matches` of the stored digest."""

    id: UUID
    digest: bytes

    def matches(self, stored: bytes | None) -> bool:
        """Whether this is the stored key, in constant time; None stands for an unknown id."""
        return hmac.compare_digest(self.digest, stored or _NO_DIGEST) and stored is not None


def new_api_key(id: UUID) -> NewApiKey:
    """A new key for the row `id`."""
    prefix = PREFIX + to_base62(id.int, _ID_DIGITS)
    secret = "".join(secrets.choice(BASE62) for _ in range(_SECRET_DIGITS))
    text = _with_checksum(f"{prefix}_{secret}")
    return NewApiKey(id, text, _digest(text), prefix)


def read_api_key(text: str) -> PresentedKey:
    """The id and digest of a key that has the right form.

    Raises:
        InvalidToken: whatever is wrong with it.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None or _with_checksum(text[:-_CHECK_DIGITS]) != text:
        raise InvalidToken
    number = from_base62(shape[1])
    if number >= _UUIDS:
        raise InvalidToken
    return PresentedKey(UUID(int=number), _digest(text))


def _with_checksum(text: str) -> str:
    return text + to_base62(zlib.crc32(text.encode("ascii")), _CHECK_DIGITS)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()
