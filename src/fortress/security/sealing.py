"""How one personal value is kept: AES-256-GCM under a key of the person's own, bound to the place where it stands (ASVS V11.3.2, V11.3.3).

    format (1 byte, 0x01) ‖ version of the person's key (32 bit) ‖ nonce (96 random bits) ‖ ciphertext and tag

Format 0x02 is the same of several values of one row that are sealed as one, bound to the place `*` of their table.

What is bound to it, as associated data, is the length-framed list of table, column, row, person and the key's version: a value
that was moved to another row, column or person is refused like one that was tampered with. Nonces are random, so one key may
seal 2³² values (NIST SP 800-38D §8.3); a person's own key stays far below that.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fortress.security.encoding import framed
from fortress.security.wrapping import Unreadable

KEY_BYTES: Final = 32
HEADER_BYTES: Final = 5
LATEST_VERSION: Final = 2**32 - 1
_FORMAT: Final = b"\x01"
TOGETHER: Final = b"\x02"
_NONCE_BYTES: Final = 12
BODY: Final = HEADER_BYTES + _NONCE_BYTES
_NOWHERE: Final = bytes(16)
# What stands behind the row in the framed list: the person's and the version's own lengths before them.
_TAIL_BYTES: Final = 8 + 16 + 8 + 4


def place(table: str, column: str) -> bytes:
    """Where values of this column stand: the beginning of their associated data."""
    whole = framed(table.encode(), column.encode(), _NOWHERE, _NOWHERE, bytes(4))
    return whole[: -_TAIL_BYTES - len(_NOWHERE)]


class ValueCipher:
    """One version of one person's key, ready for use.

    Args:
        key: 32 bytes.
        subject: whose key it is.
        version: 1 to 2³²-1.

    Attributes:
        header: how values that it sealed begin, and `together` how several do that it sealed as one.
        decrypt: of a nonce, what it sealed, and what is bound to it; raises InvalidTag and ValueError. `open` is this for one value.
        tail: what is bound to a value behind its place and its row.
    """

    __slots__ = ("_encrypt", "decrypt", "header", "tail", "together")

    def __init__(self, key: bytes, subject: UUID, version: int) -> None:
        if len(key) != KEY_BYTES or not 1 <= version <= LATEST_VERSION:
            raise ValueError("a person's key has 32 bytes and a version of 32 bits")
        cipher = AESGCM(key)
        number = version.to_bytes(4, "big")
        self._encrypt = cipher.encrypt
        self.decrypt = cipher.decrypt
        self.tail = framed(b"", b"", _NOWHERE, subject.bytes, number)[-_TAIL_BYTES:]
        self.header = _FORMAT + number
        self.together = TOGETHER + number

    def __repr__(self) -> str:
        return "ValueCipher(hidden)"

    def seal(self, place: bytes, row: bytes, value: bytes) -> bytes:
        """The value as it is kept at this place, in the row of this id (16 bytes)."""
        return self.header + self._sealed(place, row, value)

    def seal_together(self, place: bytes, row: bytes, values: bytes) -> bytes:
        """Several values as they are kept; the place is one that no single value has."""
        return self.together + self._sealed(place, row, values)

    def _sealed(self, place: bytes, row: bytes, value: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._encrypt(nonce, value, place + row + self.tail)

    def open(self, place: bytes, row: bytes, sealed: bytes) -> bytes:
        """The value.

        Raises:
            Unreadable: it was not sealed by this key at this place, whatever the reason (ASVS V11.2.5).
        """
        try:
            return self.decrypt(sealed[HEADER_BYTES:BODY], sealed[BODY:], place + row + self.tail)
        except (InvalidTag, ValueError):
            raise Unreadable from None


def blind_digest(key: bytes, value: bytes) -> bytes:
    """What a value is found by: HMAC-SHA-256 (RFC 2104), whole, so that what is unique stays so."""
    return hmac.digest(key, value, "sha256")
