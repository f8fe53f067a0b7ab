"""Sessions: signing in, seeing where one is signed in, signing out (ASVS V7)."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery, Unit
from fortress.domains.identity.contract import InvalidCredentials, UnknownSession, UserStatus
from fortress.domains.identity.models import EndedBy, Session, User
from fortress.domains.identity.repository import SessionRepository, UserRepository
from fortress.domains.identity.service.addresses import comparable
from fortress.domains.identity.service.pairs import TokenPair, owner_of, pair_of
from fortress.domains.identity.service.revocations import Revocations
from fortress.security import ANONYMOUS, SYSTEM, Principal
from fortress.security.hashing import PasswordHasher
from fortress.security.keys import KeyRing
from fortress.security.refresh import RefreshTokens, digest_of
from fortress.security.tokens import AccessTokens
from fortress.settings import Settings

_PSEUDONYM_BYTES: Final = 12
_PSEUDONYM_PURPOSE: Final = "audit-email"
_KEPT_AFTER_END: Final = timedelta(days=30)
_ROUNDS: Final = 100


class Device(msgspec.Struct, frozen=True):
    """What a session was begun from, for its owner to recognise."""

    address: str | None
    agent: str | None


class SessionService:
    """Signing in and out."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        sessions: SessionRepository,
        hasher: PasswordHasher,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        ring: KeyRing,
        revocations: Revocations,
        settings: Settings,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._hasher = hasher
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._ring = ring
        self._revocations = revocations
        self._clock = clock
        self._ids = ids
        self._idle = timedelta(days=settings.session_idle_days)
        self._longest = timedelta(days=settings.session_days)

    async def sign_in(self, email: str, password: str, device: Device) -> TokenPair:
        """A new session.

        Unknown people, wrong passwords and disabled accounts cost the same work and get the same answer. No connection is
        held while the password is hashed.

        Raises:
            InvalidCredentials: whatever is wrong.
            Unavailable: too many people are signing in.
        """
        email_key = comparable(email)
        user = await self._users.by_email.maybe(self._database.reader(SYSTEM), email_key=email_key)
        verified = await self._hasher.verify(user.password_hash if user else None, password)
        if user is not None and verified.ok and user.status is UserStatus.ACTIVE:
            pair = await self._begin(user, verified.rehash or user.password_hash, device)
            if pair is not None:
                return pair
        async with self._database.unit(ANONYMOUS) as unit:
            unit.audit("auth.sign_in_failed", target=user.id if user else None, detail={"email": self._pseudonym(email_key)})
        raise InvalidCredentials

    async def sign_out(self, caller: Principal) -> None:
        """End the caller's session; its tokens are refused on every process within a second."""
        if caller.session is None:
            return
        async with self._database.unit(caller) as unit:
            if await self._end(unit, caller.session, caller, EndedBy.SIGN_OUT):
                unit.audit("auth.signed_out", target=caller.session)

    async def recent(self, query: PageQuery, caller: Principal) -> Page[Session]:
        """One's own living sessions, newest first."""
        return await self._sessions.of_user(self._database.reader(caller), query=query, user=caller.id, now=self._clock.now())

    async def end(self, id: UUID, caller: Principal) -> None:
        """End one of one's own sessions.

        Raises:
            NotFound: it is not there, not one's own, or has ended.
        """
        async with self._database.unit(caller) as unit:
            if not await self._end(unit, id, caller, EndedBy.OWNER):
                raise UnknownSession
            unit.audit("sessions.ended", target=id)

    async def forget_ended(self) -> int:
        """Delete sessions that ended more than 30 days ago; how many there were."""
        before, gone = self._clock.now() - _KEPT_AFTER_END, 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                forgotten = await self._sessions.forget(unit, before=before)
            gone += forgotten
            if not forgotten:
                break
        return gone

    async def _begin(self, user: User, password_hash: str, device: Device) -> TokenPair | None:
        """The session of somebody whose password was right; None when account or password has changed since."""
        now, id = self._clock.now(), self._ids.new()
        token = self._refresh_tokens.issue(id, 0)
        session = Session(
            id=id,
            user_id=user.id,
            created_at=now,
            used_at=now,
            expires_at=now + self._longest,
            idle_expires_at=now + min(self._idle, self._longest),
            generation=0,
            token_hash=digest_of(token),
            previous_hash=None,
            rotated_at=None,
            revoked_at=None,
            ended_by=None,
            address=device.address,
            agent=device.agent,
        )
        async with self._database.unit(owner_of(id, user.id)) as unit:
            admitted = await self._users.admit(unit, id=user.id, verified=user.password_hash, kept=password_hash, now=now)
            if not admitted:
                return None
            await self._sessions.add(unit, session)
            unit.audit("auth.signed_in", target=id)
        return pair_of(self._access_tokens, user.id, id, token)

    async def _end(self, unit: Unit, id: UUID, caller: Principal, ended_by: EndedBy) -> bool:
        ended = await self._sessions.end(unit, id=id, user=caller.id, now=self._clock.now(), ended_by=ended_by)
        self._revocations.session(unit, id)
        return bool(ended)

    def _pseudonym(self, email_key: str) -> str:
        """What tells two attempts on one address apart from two on two, and tells nobody the address."""
        secret = self._ring.secret(_PSEUDONYM_PURPOSE).material.reveal()
        return hmac.digest(secret, email_key.encode("utf-8", "surrogatepass"), "sha256")[:_PSEUDONYM_BYTES].hex()
