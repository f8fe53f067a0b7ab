"""How every session begins, whatever it was proved with."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.domains.identity.models import Session, User
from fortress.domains.identity.repository import SessionRepository, UserRepository
from fortress.domains.identity.repository.accounts import Credentials
from fortress.domains.identity.service.pairs import TokenPair, owner_of, pair_of
from fortress.security.refresh import RefreshTokens, digest_of
from fortress.security.tokens import AccessTokens
from fortress.settings import Settings


class Device(msgspec.Struct, frozen=True):
    """What a session was begun from, for its owner to recognise."""

    address: str | None
    agent: str | None

    def __repr__(self) -> str:
        return "Device(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class SessionStarter:
    """Begins sessions of people who have just proved who they are."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        sessions: SessionRepository,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        settings: Settings,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._ids = ids
        self._idle = timedelta(days=settings.session_idle_days)
        self._longest = timedelta(days=settings.session_days)

    async def begin(self, user: User | Credentials, device: Device, *, factors: int, rehashed: str | None = None) -> TokenPair | None:
        """A new session of an active person.

        Args:
            user: as they were when their proof was checked.
            device: where the proof came from.
            factors: how many factors the proof had.
            rehashed: their password's hash at today's parameters, if it was made just now.

        Returns:
            None when the account was disabled, or its password changed, since `user` was read.
        """
        now, id = self._clock.now(), self._ids.new()
        token = self._refresh_tokens.issue(id, 0)
        async with self._database.unit(owner_of(id, user.id)) as unit:
            kept = rehashed or user.password_hash
            if not await self._users.admit(unit, id=user.id, verified=user.password_hash, kept=kept, now=now):
                return None
            await self._sessions.add(unit, self._session(id, user.id, digest_of(token), device, factors, now))
            unit.audit("auth.signed_in", target=id, detail={"factors": factors})
        return pair_of(self._access_tokens, user.id, id, token)

    def _session(self, id: UUID, user: UUID, token_hash: bytes, device: Device, factors: int, now: datetime) -> Session:
        return Session(
            id=id,
            user_id=user,
            created_at=now,
            used_at=now,
            proved_at=now,
            factors=factors,
            expires_at=now + self._longest,
            idle_expires_at=now + min(self._idle, self._longest),
            generation=0,
            token_hash=token_hash,
            previous_hash=None,
            rotated_at=None,
            revoked_at=None,
            ended_by=None,
            address=device.address,
            agent=device.agent,
        )
