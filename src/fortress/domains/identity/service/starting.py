"""How every session begins, whatever it was proved with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Moved, Unit
from fortress.domains.identity.contract import MfaRequired
from fortress.domains.identity.models import EndedBy, Purpose, Session, User
from fortress.domains.identity.repository import (
    Account,
    AuthenticatorRepository,
    Claimed,
    ClaimRepository,
    SessionRepository,
    Standing,
    UserRepository,
)
from fortress.domains.identity.service.challenges import Challenges, state_of
from fortress.domains.identity.service.devices import Devices, Recognised
from fortress.domains.identity.service.pairs import TokenPair, owner_of, pair_of
from fortress.domains.identity.service.revocations import Revocations
from fortress.security import ANONYMOUS, SYSTEM, Reach
from fortress.security.permissions import FACTORS
from fortress.security.principal import NOBODY
from fortress.security.refresh import RefreshTokens, digest_of
from fortress.security.tokens import AccessTokens
from fortress.settings import Settings

# Whoever proves who they are is nobody before that has gone well.
BEARER: Final = ANONYMOUS.reaching(Reach.ANY)

Known = User | Account


class Device(msgspec.Struct, frozen=True):
    """What a session was begun from, for its owner to recognise."""

    address: str | None
    agent: str | None

    def __repr__(self) -> str:
        return "Device(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class SessionStarter:
    """Begins sessions of people who have just proved who they are.

    Every way in ends here, so that none forgets the second factor of those who have one (ASVS V6.3.4).
    """

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        claims: ClaimRepository,
        sessions: SessionRepository,
        authenticators: AuthenticatorRepository,
        challenges: Challenges,
        devices: Devices,
        revocations: Revocations,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        settings: Settings,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._claims = claims
        self._sessions = sessions
        self._authenticators = authenticators
        self._challenges = challenges
        self._devices = devices
        self._revocations = revocations
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._ids = ids
        self._idle = timedelta(days=settings.session_idle_days)
        self._longest = timedelta(days=settings.session_days)
        self._most = settings.sessions_per_user

    async def claimed(self, email: str) -> Claimed:
        """Whom somebody says they are; the same question, and as quick an answer, when there is nobody."""
        reader = self._database.reader(SYSTEM)
        return await self._claims.of_address(reader, email=email, nobody=NOBODY, now=self._clock.now(), kept=self._most - 1)

    async def again(self, claimed: Claimed, device: Device, known: Recognised, rehashed: str | None) -> TokenPair | None:
        """What `begin` does for who has no second factor and comes from a known device, in one round trip.

        All was decided by what `claimed` says, so it is done only if the account's row is the one that was read then: each
        beginning of a session, each new password and each second factor writes it.

        Returns:
            None when they are others, or the row has changed: then nothing has happened yet, and `begin` looks at it anew.
        """
        if claimed.id is None or claimed.second_step or known.seen_at is None:
            return None
        id, now = self._ids.new(), self._clock.now()
        token = self._refresh_tokens.issue(id, 0)
        try:
            async with self._database.unit(owner_of(id, claimed.id)) as unit:
                self._admit_unchanged(unit, claimed, rehashed or claimed.password_hash, now)
                await self._sessions.add(unit, self._session(id, claimed.id, digest_of(token), device, 1, now))
                unit.audit("auth.signed_in", target=id, detail={"factors": 1})
                self._devices.returned(unit, claimed.id, known)
                self._end_surplus(unit, claimed.id, claimed.surplus, now)
        except Moved:
            return None
        return pair_of(self._access_tokens, claimed.id, id, token)

    def _admit_unchanged(self, unit: Unit, claimed: Claimed, kept: str | None, now: datetime) -> None:
        verified, revision = claimed.password_hash, claimed.revision
        self._users.admit_unchanged.guards(unit, id=claimed.id, verified=verified, revision=revision, kept=kept, now=now)

    def _end_surplus(self, unit: Unit, user: UUID, surplus: list[UUID], now: datetime) -> None:
        if surplus:
            self._sessions.end_these.later(unit, ids=surplus, user=user, now=now, ended_by=EndedBy.TOO_MANY)
            self._tell_ended(unit, surplus)

    async def begin(
        self, user: Known, device: Device, *, factors: int, rehashed: str | None = None, proved_at: datetime | None = None
    ) -> TokenPair | None:
        """A new session of an active person; the oldest one of theirs ends when there are too many.

        Args:
            user: as they were when their proof was checked.
            device: where the proof came from.
            factors: how many factors the proof had.
            rehashed: their password's hash at today's parameters, if it was made just now.
            proved_at: when they gave that proof; None: now.

        Returns:
            None when the account was disabled, or its password changed, since `user` was read.

        Raises:
            MfaRequired: they have a second factor, and the proof had one. Nothing has begun but the second step.
        """
        async with self._database.unit(BEARER) as unit:
            begun = await self.within(unit, user, device, factors=factors, rehashed=rehashed, proved_at=proved_at)
        if isinstance(begun, MfaRequired):
            raise begun
        return begun

    async def within(
        self,
        unit: Unit,
        user: Known,
        device: Device,
        *,
        factors: int,
        rehashed: str | None = None,
        proved_at: datetime | None = None,
    ) -> TokenPair | MfaRequired | None:
        """The same as a part of a unit; what `begin` raises is handed back, for the unit must be committed all the same."""
        now, kept = self._clock.now(), rehashed or user.password_hash
        if not await self._users.admit(unit, id=user.id, verified=user.password_hash, kept=kept, now=now):
            return None
        # Asked after that statement, which holds the account: nobody turns a second factor on in between.
        standing = await self._authenticators.standing(unit, user=user.id, now=now)
        if factors < FACTORS and standing.methods:
            return await self._asked(unit, user.id, kept, standing)
        if standing.sessions >= self._most:
            await self._make_room(unit, user.id, now)
        id = self._ids.new()
        unit.principal = owner_of(id, user.id)
        token = self._refresh_tokens.issue(id, 0)
        session = self._session(id, user.id, digest_of(token), device, factors, now)
        await self._sessions.add(unit, msgspec.structs.replace(session, proved_at=proved_at or now))
        unit.audit("auth.signed_in", target=id, detail={"factors": factors})
        await self._devices.arrived(unit, user.id, device)
        return pair_of(self._access_tokens, user.id, id, token)

    async def _asked(self, unit: Unit, user: UUID, password_hash: str | None, standing: Standing) -> MfaRequired:
        token = await self._challenges.ask(unit, Purpose.SECOND_STEP, user, state=state_of(password_hash))
        unit.audit("auth.second_step_asked", target=user)
        return MfaRequired(token, standing.methods)

    async def _make_room(self, unit: Unit, user: UUID, now: datetime) -> None:
        """End the oldest sessions, so that one more is not too many (ASVS V7.1.2)."""
        ended = await self._sessions.end_oldest(unit, user=user, kept=self._most - 1, now=now, ended_by=EndedBy.TOO_MANY)
        self._tell_ended(unit, ended)

    def _tell_ended(self, unit: Unit, ended: list[UUID]) -> None:
        for session in ended:
            unit.audit("sessions.ended", target=session, detail={"by": EndedBy.TOO_MANY})
            self._revocations.session(unit, session)

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
