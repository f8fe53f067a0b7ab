"""Cookies that carry a session (ASVS V3.3): how they are named, set, read and taken away.

`SameSite=Strict`: what is behind these cookies is an API that a page of the same origin calls, and no page that a link
from elsewhere opens, so nothing is lost by a cookie that stays at home whenever another site begins the request.
"""

from __future__ import annotations

from typing import Final

from fortress.errors import BadRequest
from fortress.http.answers import Header
from fortress.http.request import Request
from fortress.settings import Settings

ACCESS: Final = "fortress-access"
REFRESH: Final = "fortress-refresh"
MOST_BYTES: Final = 4096
GUARDED: Final = "__Host-"
_ATTRIBUTES: Final = "Path=/; HttpOnly; SameSite=Strict"


class RepeatedCookie(BadRequest):
    """Two cookies of one name: one of them was planted (ASVS V3.3.3), and nobody can tell which."""

    code, title = "auth.cookie_twice", "A cookie comes twice"


class SessionCookies:
    """The two cookies of a session: its access token, and its refresh token.

    Args:
        settings: outside production, without TLS, browsers would drop what is `Secure`; there the cookies have neither the
            prefix nor the attribute. Production has both, always.
    """

    def __init__(self, settings: Settings) -> None:
        self._secure = over_tls(settings)
        prefix = GUARDED if self._secure else ""
        self.access, self.refresh = prefix + ACCESS, prefix + REFRESH

    def keep(self, name: str, value: str, seconds: int) -> Header:
        """The header that has a browser keep a cookie for so long. Raises ValueError when no browser would keep it."""
        if len(name) + len(value) > MOST_BYTES:
            raise ValueError(f"a cookie of more than {MOST_BYTES} bytes is dropped by browsers")
        return (b"set-cookie", f"{name}={value}; Max-Age={seconds}; {self._attributes()}".encode("ascii"))

    def drop(self) -> tuple[Header, ...]:
        """The headers that have a browser forget both."""
        return tuple((b"set-cookie", f"{name}=; Max-Age=0; {self._attributes()}".encode("ascii")) for name in (self.access, self.refresh))

    def _attributes(self) -> str:
        return f"{_ATTRIBUTES}; Secure" if self._secure else _ATTRIBUTES


def over_tls(settings: Settings) -> bool:
    """Whether browsers reach us by TLS: always in production, where at the latest a proxy before us speaks it."""
    return settings.production or settings.origin.startswith("https://")


def read_cookie(request: Request, name: str) -> str | None:
    """The value of the cookie called so; None when there is none, or an empty one.

    Raises:
        RepeatedCookie: there are two.
    """
    header = request.head.get(b"cookie")
    start = name.encode() + b"="
    if header is None or start not in header:
        return None
    found = [pair[len(start) :] for pair in (part.strip(b" \t") for part in header.split(b";")) if pair.startswith(start)]
    if len(found) > 1:
        raise RepeatedCookie
    return found[0].decode("latin-1") or None if found else None
