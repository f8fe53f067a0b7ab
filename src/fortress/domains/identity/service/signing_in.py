"""Signing in by e-mail address and password."""

from __future__ import annotations

import hmac
from typing import Final

from fortress.data import Database
from fortress.domains.identity.contract import EmailUnverified, InvalidCredentials, UserStatus
from fortress.domains.identity.models.addresses import comparable
from fortress.domains.identity.repository import UserRepository
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.starting import Device, SessionStarter
from fortress.domains.identity.service.throttle import Throttle
from fortress.errors import Unavailable
from fortress.security import ANONYMOUS, SYSTEM
from fortress.security.hashing import PasswordHasher
from fortress.security.keys import KeyRing
from fortress.settings import Settings

_PSEUDONYM_BYTES: Final = 12
_PSEUDONYM_PURPOSE: Final = "audit-email"


class SignInService:
    """Who comes with a password."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        starter: SessionStarter,
        throttle: Throttle,
        hasher: PasswordHasher,
        ring: KeyRing,
        settings: Settings,
    ) -> None:
        self._database = database
        self._users = users
        self._starter = starter
        self._throttle = throttle
        self._hasher = hasher
        self._ring = ring
        self._verified_only = settings.require_verified_email

    async def by_password(self, email: str, password: str, device: Device) -> TokenPair:
        """A new session.

        Unknown people, wrong passwords and disabled accounts cost the same work and get the same answer. No connection is
        held while the password is hashed, and nothing is hashed for whoever has guessed too often.

        Raises:
            InvalidCredentials: whatever is wrong.
            EmailUnverified: the password is right, and the site wants the address to be proved first.
            MfaRequired: the password is right, and there is a second step.
            TooManyRequests: too many wrong passwords.
            Unavailable: too many people are signing in.
        """
        user = await self._users.credentials.maybe(self._database.reader(SYSTEM), email=email)
        guess = await self._throttle.admit(email, user.id if user else None, device)
        try:
            verified = await self._hasher.verify(user.password_hash if user else None, password)
        except Unavailable:
            await self._throttle.right(guess)
            raise
        if user is not None and verified.ok and user.status is UserStatus.ACTIVE:
            await self._throttle.right(guess)
            if self._verified_only and user.verified_at is None:
                raise EmailUnverified
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
