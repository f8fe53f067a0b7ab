"""Which addresses a request may go to that somebody else has chosen (ASVS V1.3.6; OWASP API7: server side request forgery)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's registry of special IPv4 addresses. Written down here, for the library's list changes with its patches.
_NOT_PUBLIC_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            # What clouds tell their machines, tokens included, is at 169.254.169.254.
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            # A cloud's own service at an address that looks public.
            "168.63.129.16/32",
        ),
    )
)
# All that is given out to networks; what is special lies outside, but for these.
_PUBLIC_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    map(
        IPv6Network,
        (
            # Teredo and other protocols, which hold an IPv4 address or none at all.
            "2001::/23",
            "2001:db8::/32",
            # 6to4, which holds an IPv4 address.
            "2002::/16",
            "3fff::/20",
        ),
    )
)


class Reachable:
    """What may be asked: public addresses, and these networks.

    Args:
        networks: that are admitted though they are not public.
    """

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)

    def admits(self, text: str) -> bool:
        """Whether this address may be asked. Whatever is no address may not."""
        address = read_address(text)
        return address is not None and (is_public(address) or self._listed(address))

    def admits_plainly(self, text: str) -> bool:
        """Whether it may be asked without TLS: this machine alone, where it is listed."""
        address = read_address(text)
        return address is not None and address.is_loopback and self._listed(address)

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


def read_address(text: str) -> Address | None:
    """The address; an IPv4 one in IPv6's clothes is what it is underneath. None: it is no address, or one of one link."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        return None
    return address.ipv4_mapped or address


def is_public(address: Address) -> bool:
    """Whether everybody may ask there. IPv4 addresses within IPv6 ones (NAT64, 6to4, Teredo) never are: who knows where they lead."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)
