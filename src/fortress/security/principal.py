"""Who is asking."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Final
from uuid import UUID

import msgspec

from fortress.security.permissions import Method, Reach

NOBODY: Final = UUID(int=0)
Network = IPv4Network | IPv6Network


class Seen:
    """Which grants a remembered caller has used: the bits that were noted already.

    One lives as long as a caller is remembered, so that a permission is noted once in that time and not at each request.
    """

    __slots__ = ("bits",)

    def __init__(self) -> None:
        self.bits = 0


class Principal(msgspec.Struct, frozen=True):
    """A caller: a person, a service or nobody.

    Attributes:
        id: the person's or the service owner's id; the nil UUID for nobody and for the system.
        method: how they proved who they are.
        grants: bits of PermissionTable, already cut down to what `method` may use.
        reach: how far they may read in this request; the gate sets it from the route's permission.
        session: the session or API key that they came with.
        proved_at: when they last proved who they are, in Unix seconds; 0 where that has no meaning.
        factors: how many factors that proof had.
        locked: bits of what they hold, but may use only after a second factor.
        networks: where their credential may be used from; empty: anywhere.
        seen: what they have been seen to use; None for callers who are not remembered.
    """

    id: UUID
    method: Method
    grants: int = 0
    reach: Reach = Reach.OWN
    session: UUID | None = None
    proved_at: float = 0.0
    factors: int = 0
    locked: int = 0
    networks: tuple[Network, ...] = ()
    seen: Seen | None = None

    @property
    def anonymous(self) -> bool:
        return self.method is Method.NONE

    def reaching(self, reach: Reach) -> Principal:
        """The same caller with another reach; only code that has checked the grant may call this."""
        return self if self.reach is reach else msgspec.structs.replace(self, reach=reach)


ANONYMOUS: Final = Principal(NOBODY, Method.NONE)
SYSTEM: Final = Principal(NOBODY, Method.SYSTEM, reach=Reach.ANY)
