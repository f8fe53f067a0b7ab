"""Whose address it is (ASVS V4.1.3, V15.3.4)."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from fortress.http.addresses import TrustedProxies

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def client(peer: str, *forwarded: str, trusted: bool = True) -> str:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return TrustedProxies(PROXIES if trusted else ()).client({"client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("1.1.1.1",), "203.0.113.9"),
        ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.7, 10.0.0.2",), "198.51.100.7"),
        ("10.0.0.1", ("1.1.1.1", "198.51.100.7"), "198.51.100.7"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("evil",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.7, evil, 10.0.0.2",), "10.0.0.2"),
        ("::ffff:10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("::1", ("2001:db8::1",), "2001:db8::1"),
        ("10.0.0.1", (), "10.0.0.1"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    assert client(peer, *forwarded) == expected


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client("10.0.0.1", "198.51.100.7", trusted=False) == "10.0.0.1"


def test_a_peer_without_address_is_local() -> None:
    assert TrustedProxies(()).client({"client": None, "headers": []}) == "local"
