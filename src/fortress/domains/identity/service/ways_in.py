"""Whether somebody can still sign in: asked by whatever takes a way in away."""

from __future__ import annotations

from uuid import UUID

from fortress.data import Unit
from fortress.domains.identity.contract import LastWayIn
from fortress.domains.identity.repository import AccountLock, IdentityRepository, PasskeyRepository


class WaysIn:
    """The ways into an account: its password, its passkeys, its identities elsewhere."""

    def __init__(self, accounts: AccountLock, passkeys: PasskeyRepository, identities: IdentityRepository) -> None:
        self._accounts = accounts
        self._passkeys = passkeys
        self._identities = identities

    async def require(self, unit: Unit, user: UUID) -> None:
        """To be asked within the unit that has taken one away.

        The account is locked to the end of the unit, so that of two that go at once the second sees that the first is gone.

        Raises:
            LastWayIn: none is left.
            NotFound: there is no such account.
        """
        account = await self._accounts.held(unit, id=user)
        if account.password_hash is not None or await self._passkeys.owned(unit, user=user):
            return
        if not await self._identities.of_user(unit, user=user):
            raise LastWayIn
