"""How a pair of tokens reaches a client, and comes back: in the body, or in cookies that scripts can't read."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec

from fortress.background import Background
from fortress.domains.identity.contract import InvalidRefreshToken
from fortress.domains.identity.service import SessionService
from fortress.domains.identity.service.pairs import TokenPair
from fortress.http import Headed, Request
from fortress.http.answers import Header
from fortress.http.cookies import RepeatedCookie, SessionCookies, read_cookie
from fortress.http.csrf import SAFE, Csrf
from fortress.security.refresh import RefreshTokens
from fortress.security.refusals import InvalidToken
from fortress.settings import Settings

# Of our origin only: "cookies" would empty the jar of every name below the same domain, which is not ours to do; our own
# cookies are dropped by their names (ASVS V14.3.1).
CLEAR: Final[Header] = (b"clear-site-data", b'"cache", "storage"')
Carrier = Literal["tokens", "cookie"]
"""How a client wants its session: `tokens` in the body, or `cookie` for pages in a browser."""


class CookieSession(msgspec.Struct, frozen=True, tag_field="token_type", tag="cookie"):
    """A session whose tokens are in cookies: the seconds until it must be refreshed, and what to send as `X-CSRF-Token`."""

    expires_in: int
    csrf_token: str

    def __repr__(self) -> str:
        return "CookieSession(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("expires_in", self.expires_in)]


SignedIn = Headed[TokenPair | CookieSession]
"""What every route answers that gives somebody a session, or goes on with one."""


class Handover:
    """Gives a pair to the client that asked; made before the pair is, so that whoever may not have it costs no work."""

    def __init__(self, carrying: Carrying, session: Carrier, before: UUID | None = None) -> None:
        self._carrying = carrying
        self._session = session
        self._before = before

    def of(self, pair: TokenPair) -> SignedIn:
        """The answer that carries the pair."""
        if self._session == "tokens":
            return Headed(pair, ())
        if self._before is not None:
            self._carrying.replace(self._before, pair)
        return self._carrying.in_cookies(pair)


class Carrying:
    """Carries tokens to clients and back."""

    def __init__(
        self,
        cookies: SessionCookies,
        csrf: Csrf,
        refresh_tokens: RefreshTokens,
        sessions: SessionService,
        background: Background,
        settings: Settings,
    ) -> None:
        self._cookies = cookies
        self._csrf = csrf
        self._refresh_tokens = refresh_tokens
        self._sessions = sessions
        self._background = background
        self._idle = int(timedelta(days=settings.session_idle_days).total_seconds())

    def to(self, request: Request, session: Carrier) -> Handover:
        """To be asked first: how the pair that will be made reaches who asks for it.

        Raises:
            CrossSite: cookies are wanted by a page of another site, which could sign somebody in as somebody else (ASVS
                V3.5.1). What comes by GET is the way back from a provider, and bound to its browser by other means.
        """
        if session == "tokens":
            return Handover(self, session)
        if request.method not in SAFE:
            self._csrf.check_site(request)
        return Handover(self, session, self._session_of(request))

    def in_cookies(self, pair: TokenPair) -> SignedIn:
        """The pair in two cookies, and in the body what a page must know of it."""
        kept = (
            self._cookies.keep(self._cookies.access, pair.access_token, pair.expires_in),
            self._cookies.keep(self._cookies.refresh, pair.refresh_token, self._idle),
        )
        token = self._csrf.token(self._refresh_tokens.read(pair.refresh_token).session_id)
        return Headed(CookieSession(pair.expires_in, token), kept)

    def replace(self, before: UUID, pair: TokenPair) -> None:
        """End the session whose cookies the browser had until now: nobody will come with them again (ASVS V7.2.4)."""
        if before != self._refresh_tokens.read(pair.refresh_token).session_id:
            self._background.start(self._sessions.end_replaced(before))

    def refresh_cookie(self, request: Request) -> str:
        """The refresh token that came as a cookie, from a page of ours.

        Raises:
            InvalidRefreshToken: there is none, or none that we made.
            CrossSite, CsrfTokenRequired, RepeatedCookie: what came with it does not show that a page of ours sent it.
        """
        text, session = self._presented(request)
        self._csrf.check_token(request, session)
        return text

    def csrf_token(self, request: Request) -> str:
        """The CSRF token of the session whose refresh cookie came with the request. Raises as `refresh_cookie` does."""
        return self._csrf.token(self._presented(request)[1])

    def forget(self, request: Request) -> tuple[Header, ...]:
        """The headers that have a browser drop the session's cookies, when it is by them that the request was made."""
        by_cookie = b"authorization" not in request.head and read_cookie(request, self._cookies.access) is not None
        return self._cookies.drop() if by_cookie else ()

    def forget_refused(self, request: Request) -> tuple[Header, ...]:
        """The same when the refresh cookie was good for nothing; nothing for who had none."""
        return self._cookies.drop() if read_cookie(request, self._cookies.refresh) is not None else ()

    def _session_of(self, request: Request) -> UUID | None:
        """The session that the browser's cookies are of, if they are ours; a sign-in does not fail by what was there before."""
        with suppress(InvalidToken, RepeatedCookie):
            text = read_cookie(request, self._cookies.refresh)
            return self._refresh_tokens.read(text).session_id if text else None
        return None

    def _presented(self, request: Request) -> tuple[str, UUID]:
        self._csrf.check_site(request)
        text = read_cookie(request, self._cookies.refresh)
        if text is None:
            raise InvalidRefreshToken
        try:
            return text, self._refresh_tokens.read(text).session_id
        except InvalidToken:
            raise InvalidRefreshToken from None
