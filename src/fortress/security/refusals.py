"""The one answer to every credential that does not hold."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from fortress.errors import Unauthenticated

CHALLENGE: Final = MappingProxyType({"www-authenticate": 'Bearer error="invalid_token"'})


class InvalidToken(Unauthenticated):
    """The token is not valid

    Malformed, forged, expired, retired, of another kind: the answer is the same, so it teaches nothing (RFC 6750 §3.1).
    """

    code, title = "auth.invalid_token", "The token is not valid"

    def __init__(self) -> None:
        super().__init__(headers=CHALLENGE)
