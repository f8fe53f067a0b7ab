"""Requests that a browser was made to send (ASVS V3.5): what came with cookies must have come from our own pages.

Three things are asked, each of them enough in a browser that works: where the browser says that the request began
(`Sec-Fetch-Site`, and `Origin`), and for what changes something a token that only a page of ours can have read.
"""

from __future__ import annotations

import hmac
import re
from typing import Final
from uuid import UUID

from fortress.errors import Forbidden
from fortress.http.cookies import over_tls
from fortress.http.request import Request
from fortress.security.encoding import from_base64url, to_base64url
from fortress.security.keys import DerivedKey, KeyRing
from fortress.settings import Settings

HEADER: Final = b"x-csrf-token"
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_PURPOSE: Final = "csrf"
_ID_BYTES: Final = 4
_SHAPE: Final = re.compile(rb"[A-Za-z0-9_-]{48}")


class CrossSite(Forbidden):
    """Another site began this request, so its cookies say nothing about who wants it."""

    code, title = "auth.cross_site", "This request began on another site"


class CsrfTokenRequired(Forbidden):
    """Send the session's CSRF token in `X-CSRF-Token` (GET /auth/csrf tells it)."""

    code, title = "auth.csrf_token_required", "The CSRF token is missing or not this session's"


class Csrf:
    """Tells requests of our own pages from those of others.

    Args:
        ring: the masters that the tokens' key is derived from.
        settings: where our own pages are.
    """

    def __init__(self, ring: KeyRing, settings: Settings) -> None:
        self._ring = ring
        self._origin = settings.origin.encode()
        self._scheme = b"https://" if over_tls(settings) else b"http://"

    def token(self, session: UUID) -> str:
        """The token of a session; whoever has read it can read our answers, and only our own pages can."""
        key = self._ring.secret(_PURPOSE)
        return to_base64url(key.id.to_bytes(_ID_BYTES) + _mac(key, session))

    def check_site(self, request: Request) -> None:
        """Raises CrossSite when the browser says that another site began the request.

        Clients that are no browsers say nothing of it, and browsers that say less than they should still send `Origin`.
        """
        site = request.head.get(b"sec-fetch-site", b"same-origin")
        by_hand = site == b"none" and request.method in SAFE
        if site != b"same-origin" and not by_hand:
            raise CrossSite
        origin = request.head.get(b"origin")
        if origin is not None and not self._ours(origin, request.head.get(b"host", b"")):
            raise CrossSite

    def check_token(self, request: Request, session: UUID) -> None:
        """Raises CsrfTokenRequired when a request that may change something lacks the token of its session."""
        if request.method in SAFE:
            return
        given = request.head.get(HEADER, b"")
        if not _SHAPE.fullmatch(given):
            raise CsrfTokenRequired
        raw = from_base64url(given.decode("ascii"))
        key = self._ring.secret_by_id(_PURPOSE, int.from_bytes(raw[:_ID_BYTES]))
        if key is None or not hmac.compare_digest(_mac(key, session), raw[_ID_BYTES:]):
            raise CsrfTokenRequired

    def _ours(self, origin: bytes, host: bytes) -> bool:
        """The edge has vetted the host's name; letter by letter, so no port, case or suffix passes that is not ours."""
        return origin in (self._origin, self._scheme + host)


def _mac(key: DerivedKey, session: UUID) -> bytes:
    return hmac.digest(key.material.reveal(), session.bytes, "sha256")
