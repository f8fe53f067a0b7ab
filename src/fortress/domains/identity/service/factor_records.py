"""What is kept of a person's second factors, as far as it can be handed to them and forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from fortress.data import Reader, Unit
from fortress.domains.identity.repository import AuthenticatorRepository, ChallengeRepository, PasskeyRepository, RecoveryCodeRepository


class KeptFactor(msgspec.Struct, frozen=True):
    """A second factor as it stands in an export: no secret, no key and no code."""

    kind: str
    name: str | None
    created_at: datetime
    used_at: datetime | None


class FactorRecords:
    """Authenticator app, recovery codes and passkeys; the rows go with the person."""

    def __init__(
        self,
        authenticators: AuthenticatorRepository,
        recovery: RecoveryCodeRepository,
        passkeys: PasskeyRepository,
        challenges: ChallengeRepository,
    ) -> None:
        self._authenticators = authenticators
        self._recovery = recovery
        self._passkeys = passkeys
        self._challenges = challenges

    async def export(self, reader: Reader, person: UUID) -> Mapping[str, Sequence[Any]]:
        """Which there are, and since when."""
        app = await self._authenticators.of_user.maybe(reader, user=person)
        codes = await self._recovery.of_user(reader, user=person)
        passkeys = await self._passkeys.of_user(reader, user=person)
        return {
            "second_factors": [
                *([] if app is None else [KeptFactor("totp", None, app.created_at, None)]),
                *(KeptFactor("recovery_code", None, code.created_at, None) for code in codes),
                *(KeptFactor("passkey", one.name, one.created_at, one.used_at) for one in passkeys),
            ]
        }

    async def erase(self, unit: Unit, person: UUID) -> None:
        """All of them, and what was asked of them."""
        await self._authenticators.drop(unit, user=person)
        await self._recovery.drop(unit, user=person)
        await self._passkeys.erase(unit, user=person)
        await self._challenges.erase(unit, user=person)
