"""Somebody says a password: at a sign-in, or once more when they are signed in. Every such guess is looked at here, and counted."""

from __future__ import annotations

import msgspec

from fortress.domains.identity.models import User
from fortress.domains.identity.repository import Claimed
from fortress.domains.identity.service.devices import Devices, Recognised
from fortress.domains.identity.service.starting import Device, SessionStarter
from fortress.domains.identity.service.throttle import Throttle
from fortress.errors import FieldError, Invalid, Unavailable
from fortress.security.hashing import PasswordHasher, Verified


class Guessed(msgspec.Struct, frozen=True):
    """Whom somebody says they are, what is known of where they come from, and whether the password was right."""

    claimed: Claimed
    device: Recognised
    verified: Verified


class PasswordGuesses:
    """Looks at passwords, as often as the throttle lets it."""

    def __init__(self, starter: SessionStarter, devices: Devices, throttle: Throttle, hasher: PasswordHasher) -> None:
        self._starter = starter
        self._devices = devices
        self._throttle = throttle
        self._hasher = hasher

    async def look(self, email: str, password: str, device: Device) -> Guessed:
        """Whether it is the password of this address; the same work for an address that nobody has.

        No connection is held while the password is hashed, and nothing is hashed for whoever has guessed too often.

        Raises:
            TooManyRequests: too many wrong passwords.
            Unavailable: too many people are signing in.
        """
        claimed = await self._starter.claimed(email)
        known = self._devices.recognise(claimed, device)
        guess = await self._throttle.admit(email, known.known_by, device)
        try:
            verified = await self._hasher.verify(claimed.password_hash, password)
        except Unavailable:
            self._throttle.right(guess)
            raise
        if verified.ok and claimed.account is not None:
            self._throttle.right(guess)
        return Guessed(claimed, known, verified)

    async def prove(self, user: User, password: str, device: Device, field: str) -> str | None:
        """Have somebody who is signed in say their password once more; the hash that it was compared with.

        A stolen session must not be a way to guess the password beside the sign-in, so both have one budget (ASVS V6.3.1).

        Raises:
            Invalid: it is not theirs.
            TooManyRequests, Unavailable: as `look`.
        """
        guessed = await self.look(user.email, password, device)
        if not guessed.verified.ok or guessed.claimed.id != user.id:
            raise wrong_password(field)
        return guessed.claimed.password_hash


def wrong_password(field: str) -> Invalid:
    """What to say of a password that is not theirs."""
    return Invalid([FieldError(field, "This is not your password", "password.wrong")])
