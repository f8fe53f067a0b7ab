"""From credentials to a principal: verified once, remembered until something may have changed.

A process that can't be sure to hear of revocations (its bus is silent) asks the directory every time. So the bound of
one second on a revocation holds whether or not anything is down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from fortress.background import Background
from fortress.clock import Clock
from fortress.security.apikeys import read_api_key
from fortress.security.callers import CallerCache
from fortress.security.directory import CallerDirectory
from fortress.security.permissions import FACTORS, Method, PermissionTable
from fortress.security.principal import Principal, Seen
from fortress.security.refusals import InvalidToken
from fortress.security.tokens import AccessTokens

KEY_REMEMBERED_SECONDS = 600.0


class _Remembering:
    """What both kinds of credentials share: the cache, and the moments when it may be believed."""

    def __init__(self, cache: CallerCache, certain: Callable[[], bool], clock: Clock) -> None:
        self._cache = cache
        self._certain = certain
        self._clock = clock

    def known(self, credentials: str) -> Principal | None:
        """The caller from the cache, when a revocation can't have been missed."""
        if not self._certain():
            return None
        return self._cache.get(credentials, self._clock.monotonic())

    def _remember(self, credentials: str, principal: Principal, seconds: float, stamp: int) -> Principal:
        self._cache.put(credentials, principal, self._clock.monotonic() + seconds, stamp)
        return principal

    def _seconds_until(self, *moments: datetime | None) -> list[float]:
        now = self._clock.now()
        return [(moment - now).total_seconds() for moment in moments if moment is not None]


class SessionVerifier(_Remembering):
    """Access tokens: signature and claims, then whether the session still stands."""

    def __init__(
        self,
        tokens: AccessTokens,
        directory: CallerDirectory,
        permissions: PermissionTable,
        cache: CallerCache,
        certain: Callable[[], bool],
        clock: Clock,
    ) -> None:
        super().__init__(cache, certain, clock)
        self._tokens = tokens
        self._directory = directory
        self._permissions = permissions

    async def verify(self, credentials: str) -> Principal:
        """The caller. Raises InvalidToken, whatever is wrong. One round trip or two, when not remembered."""
        claims = self._tokens.verify(credentials)
        stamp = self._cache.stamp()
        caller = await self._directory.caller_of_session(claims.session, claims.user)
        if caller is None:
            raise InvalidToken
        held = self._permissions.held(caller.holding, Method.SESSION, caller.factors)
        principal = Principal(
            caller.user,
            Method.SESSION,
            held.grants,
            session=caller.session,
            proved_at=caller.proved_at.timestamp(),
            factors=caller.factors,
            locked=held.locked,
            seen=Seen(),
        )
        left = self._seconds_until(caller.until, caller.holding.until)
        seconds = min([claims.expires - self._clock.now().timestamp(), *left])
        return self._remember(credentials, principal, seconds, stamp)


class KeyVerifier(_Remembering):
    """API keys: form and checksum, then the stored digest; scopes never reach beyond what the owner holds now."""

    def __init__(
        self,
        directory: CallerDirectory,
        permissions: PermissionTable,
        cache: CallerCache,
        certain: Callable[[], bool],
        clock: Clock,
        background: Background,
    ) -> None:
        super().__init__(cache, certain, clock)
        self._directory = directory
        self._permissions = permissions
        self._background = background

    async def verify(self, credentials: str) -> Principal:
        """The service that this key stands for. Raises InvalidToken, whatever is wrong."""
        presented = read_api_key(credentials)
        stamp = self._cache.stamp()
        key = await self._directory.caller_of_key(presented.id)
        previous = key.previous if key else None
        # Both are compared, whichever it is, so that the time tells nothing.
        is_current, is_previous = presented.matches(key.digest if key else None), presented.matches(previous.digest if previous else None)
        if key is None or not (is_current or is_previous):
            raise InvalidToken
        self._background.start(self._directory.key_seen(key.key, previous=not is_current))
        # Nobody is there to show a second factor: what asks for one is within the scopes or not, as its owner chose.
        held = self._permissions.held(key.holding, Method.API_KEY, FACTORS)
        grants = held.grants & self._permissions.grants_named(key.scopes)
        principal = Principal(key.owner, Method.API_KEY, grants, session=key.key, networks=key.networks, seen=Seen())
        overlap = previous.until if previous and not is_current else None
        seconds = min([KEY_REMEMBERED_SECONDS, *self._seconds_until(key.until, key.holding.until, overlap)])
        return self._remember(credentials, principal, seconds, stamp)


def forget(cache: CallerCache, kind: str, subject: str) -> None:
    """Act on a revocation heard on the bus; what can't be read empties the cache rather than being ignored."""
    try:
        parsed = UUID(subject)
    except ValueError:
        cache.clear()
        return
    if kind == "user":
        cache.evict_user(parsed)
    else:
        cache.evict_session(parsed)
