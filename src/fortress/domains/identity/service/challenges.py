"""Challenges: made here, short-lived, each for one purpose and answered once (ASVS V6.5.5, V6.6.2)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from fortress.clock import Clock, Ids
from fortress.data import Database, Unit
from fortress.domains.identity.models import Challenge, Purpose
from fortress.domains.identity.repository import ChallengeRepository
from fortress.security import SYSTEM
from fortress.security.encoding import to_base64url

LIFETIME: Final = timedelta(minutes=5)
MOST_TRIES: Final = 5
_BYTES: Final = 32
_ROUNDS: Final = 100


class Challenges:
    """Asks questions, and knows which were asked."""

    def __init__(self, database: Database, challenges: ChallengeRepository, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._challenges = challenges
        self._clock = clock
        self._ids = ids

    async def ask(
        self,
        unit: Unit,
        purpose: Purpose,
        user: UUID | None = None,
        *,
        within: UUID | None = None,
        state: bytes | None = None,
        handle: bytes | None = None,
    ) -> str:
        """A new challenge's token, 256 random bits; only its digest is kept."""
        token = to_base64url(secrets.token_bytes(_BYTES))
        challenge = Challenge(
            id=self._ids.new(),
            purpose=purpose,
            digest=digest_of(token),
            user_id=user,
            within=within,
            state=state,
            handle=handle,
            tries=0,
            expires_at=self._clock.now() + LIFETIME,
        )
        await self._challenges.add(unit, challenge)
        return token

    async def read(self, token: str) -> Challenge | None:
        """The second step that this token was given for, while it can be answered; costs no try."""
        reader = self._database.reader(SYSTEM)
        digest, now = digest_of(token), self._clock.now()
        return await self._challenges.good.maybe(reader, digest=digest, purpose=Purpose.SECOND_STEP, now=now, most=MOST_TRIES)

    async def tried(self, unit: Unit, token: str) -> Challenge | None:
        """The second step of this token, one try fewer; its row is held to the end of the unit."""
        digest, now = digest_of(token), self._clock.now()
        found = await self._challenges.tried(unit, digest=digest, purpose=Purpose.SECOND_STEP, now=now, most=MOST_TRIES)
        return found[0] if found else None

    async def take(self, unit: Unit, token: str, purpose: Purpose) -> Challenge | None:
        """The challenge of this token; nobody gets it again."""
        found = await self._challenges.take(unit, digest=digest_of(token), purpose=purpose, now=self._clock.now())
        return found[0] if found else None

    async def settle(self, unit: Unit, id: UUID) -> bool:
        """It was answered well. False: by somebody else before."""
        return bool(await self._challenges.settle(unit, id=id))

    async def forget_old(self) -> int:
        """Delete what nobody answered in time; how many there were."""
        gone = 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                forgotten = await self._challenges.forget(unit, now=self._clock.now())
            gone += forgotten
            if not forgotten:
                break
        return gone


def digest_of(text: str) -> bytes:
    """What is kept of a token or code with at least 112 random bits (ASVS V6.5.2)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def state_of(password_hash: str | None) -> bytes:
    """What tells that the password is still the one that was proved."""
    return digest_of(password_hash or "")
