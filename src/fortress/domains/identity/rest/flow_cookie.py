"""What a browser keeps while its person is away at a provider."""

from __future__ import annotations

from typing import Final

from fortress.domains.identity.service.providers.flows import LIFE
from fortress.http import Request
from fortress.http.answers import Header
from fortress.http.cookies import read_cookie
from fortress.settings import Settings

_NAME: Final = "fortress-provider"
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
        self._name = _GUARDED + _NAME if secure else _NAME
        self._attributes = f"Max-Age={int(LIFE.total_seconds())}; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    def keep(self, value: str) -> Header:
        """The header that has the browser keep it for as long as a sign-in may take."""
        return (b"set-cookie", f"{self._name}={value}; {self._attributes}".encode("ascii"))

    def read(self, request: Request) -> str | None:
        """What the browser kept. Raises RepeatedCookie when there are two: one of them was planted."""
        return read_cookie(request, self._name)
