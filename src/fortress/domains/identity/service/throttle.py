"""How often a password may be guessed, so that guessing leads nowhere and keeps no owner out (ASVS V6.1.1, V6.3.1).

Guesses from devices and networks that an account was never signed in to from share one small budget; each known one has its
own, so nobody elsewhere can use that up. Whoever is stopped on a new device goes the way of a forgotten password, whose proof
makes the device a known one. A source of guesses has a budget over all accounts. What turns out to be right counts nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from fortress.domains.identity.models.addresses import comparable
from fortress.errors import TooManyRequests
from fortress.limits.keys import network_of
from fortress.limits.limiter import Limiter
from fortress.limits.policy import Limit, strict
from fortress.settings import Settings

if TYPE_CHECKING:
    from fortress.domains.identity.service.starting import Device

_ACCOUNT_SECONDS: Final = 1800
_SOURCE_SECONDS: Final = 3600
Charge = tuple[Limit, str]


class Guess(msgspec.Struct, frozen=True):
    """A guess that may be looked at, and what it was charged to."""

    charges: tuple[Charge, ...]


class Throttle:
    """Counts guesses before they cost anything: whoever has none left costs no hash, and learns nothing of the account."""

    def __init__(self, limiter: Limiter, settings: Settings) -> None:
        self._limiter = limiter
        self._account = strict(Limit(settings.sign_in_failures, _ACCOUNT_SECONDS))
        self._source = strict(Limit(settings.sign_in_failures_per_address, _SOURCE_SECONDS))

    async def admit(self, email: str, known_by: bytes | None, device: Device) -> Guess:
        """Let somebody guess this account's password once. The same for addresses without an account.

        Args:
            email: of the account.
            known_by: what tells that it was signed in to from this device or network before; None: it was not.
            device: where the guess comes from.

        Raises:
            TooManyRequests: not now.
            Unavailable: guesses can't be counted.
        """
        charges = self._known(known_by) if known_by else self._unknown(email, device)
        for limit, key in charges:
            verdict = await self._limiter.charge(limit, key)
            if not verdict.allowed:
                raise TooManyRequests(verdict.retry_after)
        return Guess(charges)

    def right(self, guess: Guess) -> None:
        """The guess was right, or was never looked at."""
        for limit, key in guess.charges:
            self._limiter.give_back(limit, key)

    def _known(self, mark: bytes) -> tuple[Charge, ...]:
        return ((self._account, f"sign-in|{mark.hex()}"),)

    def _unknown(self, email: str, device: Device) -> tuple[Charge, ...]:
        """The source first: one that has used up its own budget can't use up those of accounts any more."""
        source = (self._source, f"sign-in|{network_of(device.address or '')}")
        return source, (self._account, f"sign-in|{comparable(email)}")
