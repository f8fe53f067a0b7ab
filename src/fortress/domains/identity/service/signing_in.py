"""Signing in by e-mail address and password."""

from __future__ import annotations

import hmac
from typing import Final

from fortress.data import Database
from fortress.domains.identity.contract import InvalidCredentials, UserStatus
from fortress.domains.identity.models.addresses import comparable
from fortress.domains.identity.repository import UserRepository
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.starting import Device, SessionStarter
from fortress.security import ANONYMOUS, SYSTEM
from fortress.security.hashing import PasswordHasher
from fortress.security.keys import KeyRing

_PSEUDONYM_BYTES: Final = 12
_PSEUDONYM_PURPOSE: Final = "audit-email"


class SignInService:
    """Who comes with a password."""

    def __init__(self, database: Database, users: UserRepository, starter: SessionStarter, hasher: PasswordHasher, ring: KeyRing) -> None:
        self._database = database
        self._users = users
        self._starter = starter
        self._hasher = hasher
        self._ring = ring

    async def by_password(self, email: str, password: str, device: Device) -> TokenPair:
        """A new session.

        Unknown people, wrong passwords and disabled accounts cost the same work and get the same answer. No connection is
        held while the password is hashed.

        Raises:
            InvalidCredentials: whatever is wrong.
            Unavailable: too many people are signing in.
        """
        user = await self._users.credentials.maybe(self._database.reader(SYSTEM), email=email)
        verified = await self._hasher.verify(user.password_hash if user else None, password)
        if user is not None and verified.ok and user.status is UserStatus.ACTIVE:
            pair = await self._starter.begin(user, device, factors=1, rehashed=verified.rehash)
            if pair is not None:
                return pair
        async with self._database.unit(ANONYMOUS) as unit:
            unit.audit("auth.sign_in_failed", target=user.id if user else None, detail={"email": self._pseudonym(email)})
        raise InvalidCredentials

    def _pseudonym(self, email: str) -> str:
        """What tells two attempts on one address apart from two on two, and tells nobody the address."""
        secret = self._ring.secret(_PSEUDONYM_PURPOSE).material.reveal()
        return hmac.digest(secret, comparable(email).encode("utf-8", "surrogatepass"), "sha256")[:_PSEUDONYM_BYTES].hex()
