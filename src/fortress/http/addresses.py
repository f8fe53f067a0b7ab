"""Whose address a request comes from, when proxies speak for it (ASVS V4.1.3, V15.3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from fortress.http.request import Scope

Network = IPv4Network | IPv6Network
MAX_HOPS = 20


class TrustedProxies:
    """Reads X-Forwarded-For from the right, as far as trusted proxies wrote it; from anyone else it is ignored."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def client(self, scope: Scope) -> str:
        """The client's address; a peer on a Unix socket is `local`."""
        peer = scope.get("client")
        address: str = peer[0] if peer else "local"
        if not self._networks or not self._trusted(address):
            return address
        for hop in reversed(_hops(scope)):
            if not _is_address(hop):
                return address
            address = hop
            if not self._trusted(address):
                break
        return address

    def _trusted(self, address: str) -> bool:
        if not _is_address(address):
            return address == "local"
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


def _hops(scope: Scope) -> list[str]:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",")][-MAX_HOPS:]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
