"""What a browser keeps while its person is away at a provider, and for the second step when they are back."""

from __future__ import annotations

from typing import Final

from fortress.domains.identity.service.providers.flows import LIFE
from fortress.http import Request
from fortress.http.answers import Header
from fortress.http.cookies import read_cookie
from fortress.settings import Settings

_NAME: Final = "fortress-provider"
_SECOND_STEP: Final = "fortress-mfa"
_SECOND_STEP_SECONDS: Final = 300
_GUARDED: Final = "__Host-"


class FlowCookie:
    """The cookie that binds a sign-in with a provider to its browser (ASVS V3.3, V10.1.2).

    `SameSite=Lax`: the way back from a provider is a link from another site, and must bring it along.

    Args:
        settings: outside production, without TLS, browsers would drop what is `Secure`; there the cookie has neither the
            prefix nor the attribute.
    """

    def __init__(self, settings: Settings) -> None:
        secure = settings.production or settings.origin.startswith("https://")
        self._prefix, self._secure = (_GUARDED, "; Secure") if secure else ("", "")
        self._name = self._prefix + _NAME

    def keep(self, value: str) -> Header:
        """The header that has the browser keep it for as long as a sign-in may take."""
        attributes = f"Max-Age={int(LIFE.total_seconds())}; Path=/; HttpOnly; SameSite=Lax{self._secure}"
        return (b"set-cookie", f"{self._name}={value}; {attributes}".encode("ascii"))

    def second_step(self, token: str) -> Header:
        """The header that gives a page of ours the token of the second step, which is worth nothing without the factor.

        The page reads it and posts it to /auth/mfa, so scripts may; an address would be kept in histories (ASVS V14.2.1).
        """
        attributes = f"Max-Age={_SECOND_STEP_SECONDS}; Path=/; SameSite=Strict{self._secure}"
        return (b"set-cookie", f"{self._prefix}{_SECOND_STEP}={token}; {attributes}".encode("ascii"))

    def read(self, request: Request) -> str | None:
        """What the browser kept. Raises RepeatedCookie when there are two: one of them was planted."""
        return read_cookie(request, self._name)
