"""Signed texts: compact JWS (RFC 7515 §3.1), Ed25519, one exact spelling.

joserfc makes and checks the signature; before it sees a text, that text must be one that we could have written: three
canonical segments, and a header that is exactly `{"alg", "kid", "typ"}` in our own spelling with the algorithm of our
own key record. So nothing in a header (`jwk`, `jku`, `x5c`, `crit`, `b64`, `zip`, `none`) can ask for anything.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from fortress.security.encoding import from_base64url
from fortress.security.keymaterial import SigningKey
from fortress.security.keys import KeyRing
from fortress.security.refusals import InvalidToken

# At most 2,048 characters. 86 letters are the 64 bytes of an Ed25519 signature; the last letter has four unused bits, which must be zero.
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{1,256}\.[A-Za-z0-9_-]{1,1704}\.[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


_HEADER: Final = msgspec.json.Decoder(_Header)


class SignedTexts:
    """Seals and opens texts of one type.

    Args:
        ring: the keys.
        typ: the media type in the header (RFC 8725 §3.11); a text of another type is refused.
    """

    def __init__(self, ring: KeyRing, typ: str) -> None:
        self._ring = ring
        self._typ = typ

    def seal(self, payload: bytes) -> str:
        """`payload`, signed by the key that signs now."""
        key = self._ring.signer()
        header = {"alg": key.alg, "kid": key.kid, "typ": self._typ}
        return jws.serialize_compact(header, payload, key.jwk, registry=key.registry)

    def open(self, text: str) -> bytes:
        """The payload of a text that we sealed.

        Raises:
            InvalidToken: whatever is wrong with it.
        """
        if not _SHAPE.fullmatch(text):
            raise InvalidToken
        key = self._key_of(text[: text.index(".")])
        try:
            payload = from_base64url(text.split(".")[1])
            jws.deserialize_compact(text, key.jwk, registry=key.registry)
        except (JoseError, ValueError):
            raise InvalidToken from None
        return payload

    def _key_of(self, segment: str) -> SigningKey:
        try:
            raw = from_base64url(segment)
            header = _HEADER.decode(raw)
        except (ValueError, msgspec.MsgspecError):
            raise InvalidToken from None
        # Our own spelling, or none: repeated members, odd order and white space end here.
        key = self._ring.verifier(header.kid) if msgspec.json.encode(header) == raw else None
        if key is None or header.alg != key.alg or header.typ != self._typ:
            raise InvalidToken
        return key
