"""What somebody may give to others and take from them: what they hold themselves, for no longer than they hold it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fortress.clock import Clock
from fortress.data import Unit
from fortress.domains.access.contract import NotHeld
from fortress.domains.access.repository import Held, RoleHolders
from fortress.domains.access.service.holdings import NEVER, holding
from fortress.security import Method, PermissionTable, Principal


class Own:
    """The grants of one person, by how long they last.

    Args:
        held: their row; None: nobody's.
        factors: that the session had with which they came; what asks for a second one does not count without it.
    """

    def __init__(self, held: Held | None, factors: int, permissions: PermissionTable, now: datetime) -> None:
        self._held = held
        self._factors = factors
        self._permissions = permissions
        self._now = now

    def refuse_beyond(self, grants: int, end: datetime) -> None:
        """Raises NotHeld when one of these grants is not held, or not until `end`."""
        held = holding(self._held, self._now, self._permissions, lasting=end)
        if grants & ~self._permissions.held(held, Method.SYSTEM, self._factors).grants:
            raise NotHeld


class Unbounded(Own):
    """What the system itself may give: anything."""

    def __init__(self) -> None:
        pass

    def refuse_beyond(self, grants: int, end: datetime) -> None:
        pass


class Authority:
    """Tells how far people reach, as the database says it at that moment: a token's grants don't count here."""

    def __init__(self, holders: RoleHolders, permissions: PermissionTable, clock: Clock) -> None:
        self._holders = holders
        self._permissions = permissions
        self._clock = clock

    async def of(self, unit: Unit, by: Principal) -> Own:
        """What this caller may give and take."""
        if by.method is Method.SYSTEM:
            return Unbounded()
        return Own(await self._holders.held.maybe(unit, person=by.id), by.factors, self._permissions, self._clock.now())

    async def refuse_beyond(self, unit: Unit, by: Principal, grants: Iterable[str], *, end: datetime = NEVER) -> None:
        """Raises NotHeld when one of these grants, by their names, is not this caller's to give until `end`."""
        bits = self._permissions.grants_named(self._permissions.implied(grants))
        (await self.of(unit, by)).refuse_beyond(bits, end)
