"""Access tokens: short-lived JWTs (RFC 9068) that say who and in which session, and nothing about what they may.

Permissions are looked up, so that a change of roles needs no new token. Every refusal is the same InvalidToken.
"""

from __future__ import annotations

import math
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.security.jose import SignedTexts
from fortress.security.keys import KeyRing
from fortress.security.refusals import InvalidToken

TYPE: Final = "at+jwt"
_DEFAULT_SKEW: Final = timedelta(seconds=5)
_ID_BYTES: Final = 16


class IssuedToken(msgspec.Struct, frozen=True):
    """A new access token; `expires_in` is in seconds."""

    text: str
    expires_in: int

    def __repr__(self) -> str:
        return f"IssuedToken(hidden, expires_in={self.expires_in})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("expires_in", self.expires_in)]


class Claims(msgspec.Struct, frozen=True):
    """What a verified access token says: whose, in which session, and when it was issued and ends (Unix seconds)."""

    user: UUID
    session: UUID
    issued: int
    expires: int
    id: str


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    iss: str
    aud: str
    sub: UUID
    sid: UUID
    iat: int
    exp: int
    jti: str


_PAYLOAD: Final = msgspec.json.Decoder(_Payload)


class AccessTokens:
    """Issues and verifies access tokens.

    Args:
        ring: the keys.
        clock: the time that `iat` and `exp` are compared with.
        issuer: `iss`, compared exactly.
        audience: `aud`, one string, compared exactly.
        lifetime: of a token.
        skew: how far the clocks of two servers may be apart.
    """

    def __init__(
        self,
        ring: KeyRing,
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        lifetime: timedelta,
        skew: timedelta = _DEFAULT_SKEW,
    ) -> None:
        self._texts = SignedTexts(ring, TYPE)
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._lifetime = int(lifetime.total_seconds())
        self._skew = skew.total_seconds()

    def issue(self, user: UUID, session: UUID) -> IssuedToken:
        """A new token for `user` in `session`."""
        now = math.floor(self._clock.now().timestamp())
        payload = _Payload(
            iss=self._issuer,
            aud=self._audience,
            sub=user,
            sid=session,
            iat=now,
            exp=now + self._lifetime,
            jti=secrets.token_urlsafe(_ID_BYTES),
        )
        return IssuedToken(self._texts.seal(msgspec.json.encode(payload)), self._lifetime)

    def verify(self, text: str) -> Claims:
        """What the token says, if it is ours and of now. Whether its session still stands is the caller's to ask.

        Raises:
            InvalidToken: whatever is wrong with it.
        """
        raw = self._texts.open(text)
        try:
            payload = _PAYLOAD.decode(raw)
        except (ValueError, msgspec.MsgspecError):
            raise InvalidToken from None
        if not self._is_ours(payload, raw) or not self._is_of_now(payload):
            raise InvalidToken
        return Claims(payload.sub, payload.sid, payload.iat, payload.exp, payload.jti)

    def _is_ours(self, payload: _Payload, raw: bytes) -> bool:
        return payload.iss == self._issuer and payload.aud == self._audience and msgspec.json.encode(payload) == raw

    def _is_of_now(self, payload: _Payload) -> bool:
        now = self._clock.now().timestamp()
        lives = 0 < payload.exp - payload.iat <= self._lifetime
        return lives and payload.iat <= now + self._skew and now < payload.exp + self._skew
