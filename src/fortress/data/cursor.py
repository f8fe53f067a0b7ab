"""Cursors: where a page ended, signed so that only we can say it.

base64url(tag ‖ MessagePack of the sort values), where tag is a keyed BLAKE2b (RFC 7693) over the length-framed
query's name, the caller's scope and the values. It is not encrypted: it holds what the caller has just seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import msgspec

from fortress.errors import FieldError, Invalid
from fortress.security.principal import Principal

LONGEST: Final = 512
_TAG: Final = 16
_PERSON: Final = b"fortress.cursor"


class Cursors:
    """Writes and reads cursors.

    Args:
        secret: 16 to 64 bytes, the same in every process.
    """

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 64:
            raise ValueError("the cursors' secret needs 16 to 64 bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "Cursors()"

    def write(self, query: str, principal: Principal, values: tuple[Any, ...]) -> str:
        """A cursor that only this query and this caller can use."""
        packed = msgspec.msgpack.encode(values)
        return base64.urlsafe_b64encode(self._tag(query, principal, packed) + packed).rstrip(b"=").decode()

    def read(self, cursor: str, query: str, principal: Principal, kind: Any) -> tuple[Any, ...]:
        """The values, a tuple of type `kind`, of a cursor that we wrote for this query and this caller.

        Raises:
            Invalid: anybody else's, any other query's, or changed; field `?cursor`.
        """
        raw = _bytes(cursor)
        tag, packed = raw[:_TAG], raw[_TAG:]
        if not hmac.compare_digest(tag, self._tag(query, principal, packed)):
            raise _refused()
        try:
            values: tuple[Any, ...] = msgspec.msgpack.decode(packed, type=kind)
        except msgspec.MsgspecError:
            # Ours, but of a release that sorted by something else.
            raise _refused() from None
        return values

    def _tag(self, query: str, principal: Principal, packed: bytes) -> bytes:
        framed = hashlib.blake2b(digest_size=_TAG, key=self._secret, person=_PERSON)
        for part in (query.encode(), principal.reach.value.encode(), principal.id.bytes, packed):
            framed.update(len(part).to_bytes(4, "big") + part)
        return framed.digest()


def _bytes(cursor: str) -> bytes:
    if len(cursor) > LONGEST:
        raise _refused()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused() from None
    # base64 has several texts for some bytes; ours is one.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:
        raise _refused()
    return raw


def _refused() -> Invalid:
    return Invalid((FieldError("?cursor", "This is not a cursor of this list", "cursor"),))
