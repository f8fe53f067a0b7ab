"""Refresh tokens: each used once, and what it means when one is not (RFC 9700 §4.14, ASVS V10.4.5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fortress.clock import Clock
from fortress.data import Database
from fortress.domains.identity.contract import InvalidRefreshToken, UserStatus
from fortress.domains.identity.events import SessionStolen
from fortress.domains.identity.models import EndedBy
from fortress.domains.identity.repository import SessionRepository, SessionState
from fortress.domains.identity.service.pairs import TokenPair, owner_of, pair_of
from fortress.domains.identity.service.revocations import Revocations
from fortress.security import ANONYMOUS, SYSTEM, Reach
from fortress.security.refresh import RefreshToken, RefreshTokens, digest_of, matches
from fortress.security.refusals import InvalidToken
from fortress.security.tokens import AccessTokens
from fortress.settings import Settings

# Whose token it is, is not known before it is found; so what may be found is not decided by whose row it is.
_BEARER: Final = ANONYMOUS.reaching(Reach.ANY)


class RefreshService:
    """Staying signed in."""

    def __init__(
        self,
        database: Database,
        sessions: SessionRepository,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        revocations: Revocations,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._revocations = revocations
        self._clock = clock
        self._idle = timedelta(days=settings.session_idle_days)
        self._grace = timedelta(seconds=settings.refresh_grace)

    async def refresh(self, text: str) -> TokenPair:
        """A new pair for a refresh token, which is used up by that.

        The token before the good one gets the same successor again during the grace period, so that a client whose answer
        was lost, or two tabs at once, go on. Any other use of an old token means that somebody else has it: the session
        ends, and that is committed although this call fails.

        Raises:
            InvalidRefreshToken: unknown, used, expired or revoked.
        """
        try:
            token = self._refresh_tokens.read(text)
        except InvalidToken:
            raise InvalidRefreshToken from None
        now = self._clock.now()
        return await self._rotated(token, now) or await self._repeated(token, now)

    async def _rotated(self, token: RefreshToken, now: datetime) -> TokenPair | None:
        """The next pair, when this is the good token."""
        successor = self._refresh_tokens.issue(token.session_id, token.generation + 1)
        async with self._database.unit(_BEARER) as unit:
            whose = await self._sessions.rotate(
                unit,
                id=token.session_id,
                presented=token.digest,
                successor=digest_of(successor),
                now=now,
                idle_until=now + self._idle,
            )
            if not whose:
                return None
            unit.principal = owner_of(token.session_id, whose[0])
            unit.audit("auth.refreshed", target=token.session_id)
        return pair_of(self._access_tokens, whose[0], token.session_id, successor)

    async def _repeated(self, token: RefreshToken, now: datetime) -> TokenPair:
        state = await self._sessions.state.maybe(self._database.reader(SYSTEM), id=token.session_id)
        if state is None or not is_alive(state, now) or matches(token.digest, state.token_hash):
            raise InvalidRefreshToken
        if not is_within_grace(state, token.digest, now, self._grace):
            await self._stolen(token, state, now)
            raise InvalidRefreshToken
        successor = self._refresh_tokens.again(token.session_id, state.generation, state.token_hash)
        if successor is None:
            raise InvalidRefreshToken
        return pair_of(self._access_tokens, state.user_id, token.session_id, successor)

    async def _stolen(self, token: RefreshToken, state: SessionState, now: datetime) -> None:
        """End the session: the thief's tokens and the owner's are of one family, and nobody can tell them apart."""
        async with self._database.unit(owner_of(token.session_id, state.user_id)) as unit:
            ended = await self._sessions.end(unit, id=token.session_id, user=state.user_id, now=now, ended_by=EndedBy.REUSE)
            if ended:
                unit.record(SessionStolen(user_id=state.user_id, session_id=token.session_id))
                detail = {"generation": token.generation, "current": state.generation}
                unit.audit("session.reuse_detected", target=token.session_id, detail=detail)
                self._revocations.session(unit, token.session_id)


def is_alive(state: SessionState, now: datetime) -> bool:
    """Whether the session still stands: not revoked, within both lifetimes, its owner active."""
    in_time = now < state.expires_at and now < state.idle_expires_at
    return state.revoked_at is None and in_time and state.status is UserStatus.ACTIVE


def is_within_grace(state: SessionState, digest: bytes, now: datetime, grace: timedelta) -> bool:
    """Whether this is the token just before the good one, come back soon enough."""
    if state.previous_hash is None or state.rotated_at is None:
        return False
    return matches(digest, state.previous_hash) and now < state.rotated_at + grace
