"""Whose requests are counted together."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from fortress.security.principal import Principal

_REMEMBERED: Final = 8192
_HOST_BITS: Final = 64
_NOWHERE: Final = "nowhere"


def limit_key(scope: str, principal: Principal, address: str) -> str:
    """The key under which a request counts.

    Args:
        scope: the route's name, or the name of the group that it shares a count with.
        principal: whoever they are, with whatever session or API key: more keys don't buy more requests.
        address: of the client; it counts only for callers without a name.
    """
    if principal.anonymous:
        return f"{scope}|{network_of(address)}"
    return f"{scope}|p{principal.id.int:x}"


@lru_cache(_REMEMBERED)
def network_of(address: str) -> str:
    """An address in one spelling: IPv4 as it is, also when it comes mapped into IPv6; of IPv6 the /64, which one customer has whole.

    What is no address (a Unix socket's peer) shares one key.
    """
    try:
        parsed: IPv4Address | IPv6Address | None = ip_address(address.partition("%")[0])
    except ValueError:
        return _NOWHERE
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return f"6:{int(parsed) >> _HOST_BITS:x}"
        parsed = parsed.ipv4_mapped
    return f"4:{parsed}"
