"""Whose passkey has answered a challenge."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.identity.models import Challenge, Passkey
from fortress.domains.identity.repository import PasskeyRepository
from fortress.domains.identity.service.ceremonies import Assertion, Ceremonies, Refused
from fortress.domains.identity.service.factor_letters import COPIED_PASSKEY
from fortress.domains.notifications.contract import Notifications
from fortress.mail import NOTHING
from fortress.security import SYSTEM
from fortress.security.encoding import from_base64url


class Proved(msgspec.Struct, frozen=True):
    """A passkey whose answer is right; whether its counter is, `count` tells."""

    passkey: Passkey
    assertion: Assertion


class Assertions:
    """Checks what passkeys answer."""

    def __init__(
        self, database: Database, passkeys: PasskeyRepository, ceremonies: Ceremonies, notices: Notifications, clock: Clock
    ) -> None:
        self._database = database
        self._passkeys = passkeys
        self._ceremonies = ceremonies
        self._notices = notices
        self._clock = clock

    async def proved(self, credential: Mapping[str, Any], token: str, challenge: Challenge | None) -> Proved | None:
        """The passkey that answered this challenge; None when anything is wrong. No connection is held meanwhile.

        Args:
            credential: as the browser gave it.
            token: of the challenge, and what must have been signed.
            challenge: taken, so that nobody answers it again; one of nobody's own asks for the person's handle as well.
        """
        if challenge is None:
            return None
        passkey = await self._known(credential)
        if passkey is None or challenge.user_id not in (None, passkey.user_id):
            return None
        if not is_handle_right(credential, passkey.handle, demanded=challenge.user_id is None):
            return None
        try:
            assertion = await self._ceremonies.asserted(credential, token, passkey.public_key)
        except Refused:
            return None
        # What may be synced is decided when a passkey is made, and can't change (WebAuthn §7.2 step 19).
        return Proved(passkey, assertion) if assertion.synced == passkey.synced else None

    async def count(self, unit: Unit, proved: Proved) -> bool:
        """Write down that it was used. False: its counter did not grow, so there may be two of it; that is told of."""
        passkey, assertion = proved.passkey, proved.assertion
        if await self._passkeys.used(unit, id=passkey.id, count=assertion.sign_count, backed_up=assertion.backed_up, now=self._clock.now()):
            return True
        detail = {"known": passkey.sign_count, "came": assertion.sign_count}
        unit.audit("passkeys.counter_went_back", target=passkey.id, detail=detail)
        await self._notices.tell(unit, passkey.user_id, COPIED_PASSKEY, NOTHING)
        return False

    async def credentials_of(self, user: UUID) -> list[Passkey]:
        """Somebody's passkeys, oldest first."""
        return await self._passkeys.of_user(self._database.reader(SYSTEM), user=user)

    async def _known(self, credential: Mapping[str, Any]) -> Passkey | None:
        try:
            id = from_base64url(credential["id"])
        except ValueError:
            return None
        return await self._passkeys.known.maybe(self._database.reader(SYSTEM), credential=id)


def is_handle_right(credential: Mapping[str, Any], handle: bytes, *, demanded: bool) -> bool:
    """Whether the answer names the person whose passkey it is (WebAuthn §7.2 step 6)."""
    given = credential["response"].get("userHandle")
    if given is None:
        return not demanded
    try:
        return hmac.compare_digest(from_base64url(given), handle)
    except ValueError:
        return False
