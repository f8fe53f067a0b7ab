"""Who stands behind a session or an API key, as the database knows it now."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Final
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database
from fortress.domains.access.contract import Access
from fortress.domains.identity.repository import ApiKeyRepository, KeyState, SessionRepository
from fortress.security import SYSTEM
from fortress.security.directory import CallerDirectory, KnownCaller, KnownKey, PreviousKey

_SEEN_EVERY: Final = timedelta(hours=1)


class Directory(CallerDirectory):
    """Asked by the verifiers when a credential is not remembered; two round trips."""

    def __init__(self, database: Database, sessions: SessionRepository, keys: ApiKeyRepository, access: Access, clock: Clock) -> None:
        self._database = database
        self._sessions = sessions
        self._keys = keys
        self._access = access
        self._clock = clock

    async def caller_of_session(self, session: UUID, user: UUID) -> KnownCaller | None:
        reader = self._database.reader(SYSTEM)
        end = await self._sessions.living.maybe(reader, id=session, user=user, now=self._clock.now())
        if end is None:
            return None
        return KnownCaller(
            user,
            session,
            await self._access.holding_of(user),
            until=min(end.expires_at, end.idle_expires_at),
            proved_at=end.proved_at,
            factors=end.factors,
        )

    async def caller_of_key(self, key: UUID) -> KnownKey | None:
        found = await self._keys.living.maybe(self._database.reader(SYSTEM), id=key, now=self._clock.now())
        if found is None:
            return None
        holding = await self._access.holding_of(found.user_id)
        return KnownKey(
            found.user_id,
            key,
            found.digest,
            holding,
            found.scopes,
            found.expires_at,
            networks=tuple(map(ip_network, found.networks)),
            previous=previous_of(found, self._clock.now()),
        )

    async def key_seen(self, key: UUID, *, previous: bool = False) -> None:
        """Remember that a key was used; written at most once an hour."""
        now = self._clock.now()
        seen = self._keys.seen_previous if previous else self._keys.seen
        async with self._database.unit(SYSTEM) as unit:
            await seen(unit, id=key, now=now, before=now - _SEEN_EVERY)

    async def key_refused(self, owner: UUID, key: UUID) -> None:
        """Write down that a good key was used from an address that it is not for: perhaps it was stolen."""
        async with self._database.unit(SYSTEM) as unit:
            unit.audit("api_keys.address_refused", target=key, detail={"owner": str(owner)})


def previous_of(key: KeyState, now: datetime) -> PreviousKey | None:
    """The secret before this one, while it still works."""
    if key.previous_digest is None or key.previous_until is None or now >= key.previous_until:
        return None
    return PreviousKey(key.previous_digest, key.previous_until)
