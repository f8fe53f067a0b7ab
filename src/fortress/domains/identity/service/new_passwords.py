"""New passwords, wherever one is chosen: all that is wrong with one is told at once (ASVS V6.2)."""

from __future__ import annotations

from fortress.errors import FieldError, Invalid
from fortress.security.leaked import LeakedPasswords
from fortress.security.passwords import PasswordPolicy


class NewPasswords:
    """Says whether a person may choose a password."""

    def __init__(self, policy: PasswordPolicy, leaked: LeakedPasswords) -> None:
        self._policy = policy
        self._leaked = leaked

    async def faults(self, password: str, *, email: str, name: str = "", field: str = "/password") -> list[FieldError]:
        """What is wrong with it; empty when it may be used."""
        faults = self._policy.check(password, email=email, name=name, field=field)
        # Only what may be used otherwise is looked for: a service may be asked, and hears of nothing that is refused anyway.
        if not faults and await self._leaked.knows(password):
            faults = [FieldError(field, "This password has leaked somewhere, so it is among those that are tried.", "password.breached")]
        return faults

    async def refuse_weak(self, password: str, *, email: str, name: str = "", field: str = "/password") -> None:
        """Raises Invalid when it may not be used."""
        if faults := await self.faults(password, email=email, name=name, field=field):
            raise Invalid(faults)
