"""Signing in by e-mail address and password."""

from __future__ import annotations

import hmac
from typing import Final

from fortress.data import Database
from fortress.domains.identity.contract import EmailUnverified, InvalidCredentials
from fortress.domains.identity.models.addresses import comparable
from fortress.domains.identity.service.guesses import PasswordGuesses
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.starting import Device, SessionStarter
from fortress.security import ANONYMOUS
from fortress.security.keys import KeyRing
from fortress.settings import Settings

_PSEUDONYM_BYTES: Final = 12
_PSEUDONYM_PURPOSE: Final = "audit-email"


class SignInService:
    """Who comes with a password."""

    def __init__(
        self,
        database: Database,
        starter: SessionStarter,
        guesses: PasswordGuesses,
        ring: KeyRing,
        settings: Settings,
    ) -> None:
        self._database = database
        self._starter = starter
        self._guesses = guesses
        self._ring = ring
        self._verified_only = settings.require_verified_email

    async def by_password(self, email: str, password: str, device: Device) -> TokenPair:
        """A new session.

        Unknown people, wrong passwords and disabled accounts cost the same work and get the same answer.

        Raises:
            InvalidCredentials: whatever is wrong.
            EmailUnverified: the password is right, and the site wants the address to be proved first.
            MfaRequired: the password is right, and there is a second step.
            TooManyRequests: too many wrong passwords.
            Unavailable: too many people are signing in.
        """
        guessed = await self._guesses.look(email, password, device)
        claimed, verified = guessed.claimed, guessed.verified
        user = claimed.account
        if user is not None and verified.ok:
            if self._verified_only and claimed.verified_at is None:
                raise EmailUnverified
            pair = await self._starter.again(claimed, device, guessed.device, verified.rehash)
            pair = pair or await self._starter.begin(user, device, factors=1, rehashed=verified.rehash)
            if pair is not None:
                return pair
        async with self._database.unit(ANONYMOUS) as unit:
            unit.audit("auth.sign_in_failed", target=claimed.id, detail={"email": self._pseudonym(email)})
        raise InvalidCredentials

    def _pseudonym(self, email: str) -> str:
        """What tells two attempts on one address apart from two on two, and tells nobody the address."""
        secret = self._ring.secret(_PSEUDONYM_PURPOSE).material.reveal()
        return hmac.digest(secret, comparable(email).encode("utf-8", "surrogatepass"), "sha256")[:_PSEUDONYM_BYTES].hex()
