"""Who is asking."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from fortress.security.permissions import Method, Reach

NOBODY: Final = UUID(int=0)


class Principal(msgspec.Struct, frozen=True):
    """A caller: a person, a service or nobody.

    Attributes:
        id: the person's or the service owner's id; the nil UUID for nobody and for the system.
        method: how they proved who they are.
        grants: bits of PermissionTable, already cut down to what `method` may use.
        reach: how far they may read in this request; the gate sets it from the route's permission.
        session: the session or API key that they came with.
    """

    id: UUID
    method: Method
    grants: int = 0
    reach: Reach = Reach.OWN
    session: UUID | None = None

    @property
    def anonymous(self) -> bool:
        return self.method is Method.NONE

    def reaching(self, reach: Reach) -> Principal:
        """The same caller with another reach; only code that has checked the grant may call this."""
        return self if self.reach is reach else msgspec.structs.replace(self, reach=reach)


ANONYMOUS: Final = Principal(NOBODY, Method.NONE)
SYSTEM: Final = Principal(NOBODY, Method.SYSTEM, reach=Reach.ANY)
