"""Signing in, staying signed in, signing out."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

import msgspec
from pydantic import Field

from fortress.data import Page, PageQuery
from fortress.domains.identity.contract import (
    EmailUnverified,
    InvalidCredentials,
    InvalidRefreshToken,
    MfaRequired,
    UnknownSession,
    UnknownUser,
)
from fortress.domains.identity.policy import ACCOUNT_SESSIONS, USERS_WRITE
from fortress.domains.identity.rest.carrying import CLEAR, Carrier, Carrying, SignedIn
from fortress.domains.identity.rest.inputs import Presented
from fortress.domains.identity.service import RefreshService, SessionService, SignInService
from fortress.domains.identity.service.starting import Device
from fortress.domains.identity.service.views import SessionView, session_view, shown
from fortress.http import PUBLIC, Answer, Input, Request, delete, get, per_minute, post, strict
from fortress.http.csrf import CrossSite, CsrfTokenRequired
from fortress.security import Principal

_AGENT_LETTERS: Final = 200
_ADDRESS_LETTERS: Final = 64


class SignIn(Input):
    """Who somebody says they are, and the proof."""

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Presented
    session: Carrier = "tokens"


class Refresh(Input):
    """The refresh token of the pair that came last; left out where it is in a cookie."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512)] | None = None


class CsrfView(msgspec.Struct, frozen=True):
    """What a page sends as `X-CSRF-Token` with all that changes something."""

    csrf_token: str

    def __repr__(self) -> str:
        return "CsrfView(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


@post("/auth/login", allow=PUBLIC, limit=strict(per_minute(30)), errors=[InvalidCredentials, MfaRequired, EmailUnverified, CrossSite])
async def sign_in(data: SignIn, signing_in: SignInService, carrying: Carrying, request: Request) -> SignedIn:
    """Sign in."""
    handover = carrying.to(request, data.session)
    return handover.of(await signing_in.by_password(data.email, data.password.get_secret_value(), device_of(request)))


@post("/auth/refresh", allow=PUBLIC, limit=strict(per_minute(600)), errors=[InvalidRefreshToken, CrossSite, CsrfTokenRequired])
async def refresh(data: Refresh, refreshing: RefreshService, carrying: Carrying, request: Request) -> SignedIn:
    """Get a new pair for a refresh token, which is used up by it.

    Without a token in the body it is taken from its cookie, and the new pair is in cookies too.
    """
    if data.refresh_token is not None:
        return carrying.to(request, "tokens").of(await refreshing.refresh(data.refresh_token))
    try:
        return carrying.in_cookies(await refreshing.refresh(carrying.refresh_cookie(request)))
    except InvalidRefreshToken as refusal:
        # It will not get better: a browser that kept it would come with it again and again.
        refusal.cookies = carrying.forget_refused(request)
        raise


@get("/auth/csrf", allow=PUBLIC, limit=per_minute(300), errors=[InvalidRefreshToken, CrossSite])
async def read_csrf_token(carrying: Carrying, request: Request) -> CsrfView:
    """Read the CSRF token of the session that is in your cookies."""
    return CsrfView(carrying.csrf_token(request))


@post("/auth/logout", allow=ACCOUNT_SESSIONS, limit=per_minute(60))
async def sign_out(sessions: SessionService, carrying: Carrying, principal: Principal, request: Request) -> Answer:
    """Sign out; the session's tokens die, and a browser forgets them with what it kept of the answers."""
    await sessions.sign_out(principal)
    return Answer(204, headers=(CLEAR, *carrying.forget(request)))


@get("/users/me/sessions", allow=ACCOUNT_SESSIONS, limit=per_minute(300))
async def list_my_sessions(query: PageQuery, sessions: SessionService, principal: Principal) -> Page[SessionView]:
    """List where you are signed in."""
    page = await sessions.recent(query, principal)
    return shown(page, lambda session: session_view(session, principal.session))


@delete("/users/me/sessions", allow=ACCOUNT_SESSIONS, limit=per_minute(60))
async def end_my_other_sessions(sessions: SessionService, principal: Principal) -> None:
    """Sign out everywhere else."""
    await sessions.end_others(principal)


@delete("/users/me/sessions/{session_id:uuid}", allow=ACCOUNT_SESSIONS, limit=per_minute(60), errors=[UnknownSession])
async def end_my_session(session_id: UUID, sessions: SessionService, principal: Principal) -> None:
    """End one of your sessions."""
    await sessions.end(session_id, principal)


@delete("/users/{user_id:uuid}/sessions", allow=USERS_WRITE, limit=per_minute(60), errors=[UnknownUser])
async def end_sessions_of_user(user_id: UUID, sessions: SessionService, principal: Principal) -> None:
    """Sign somebody out everywhere."""
    await sessions.end_all_of(user_id, principal)


def device_of(request: Request) -> Device:
    """What the request tells of where it comes from, shortened and in one line."""
    given = request.head.get(b"user-agent", b"").decode("latin-1")
    agent = "".join(letter for letter in given if letter.isprintable())[:_AGENT_LETTERS]
    return Device(request.context.address[:_ADDRESS_LETTERS] or None, agent or None)
