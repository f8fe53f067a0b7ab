"""Which addresses may be asked, and which URLs are read at all."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.outward import RefusedDestination, read_destination
from fortress.outward.addresses import Reachable, is_public

PUBLIC = ("8.8.8.8", "93.184.216.34", "1.0.0.1", "2606:4700:4700::1111", "2a00:1450::8a", "::ffff:8.8.8.8")
WITHIN = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "203.0.113.7",
    "192.88.99.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "5f00::1",
    "",
    "localhost",
    "127.1",
    "2130706433",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_asked(address: str) -> None:
    assert Reachable().admits(address)


@pytest.mark.parametrize("address", WITHIN)
def test_what_lies_within_may_not(address: str) -> None:
    assert not Reachable().admits(address)


@given(st.ip_addresses())
def test_whatever_the_library_knows_to_be_special_is_not_public(address: object) -> None:
    known = ip_address(str(address))
    if not known.is_global or known.is_multicast or known.is_reserved:
        assert not is_public(known)


def test_a_listed_network_is_admitted_and_only_it() -> None:
    reachable = Reachable([IPv4Network("10.1.0.0/16")])
    assert reachable.admits("10.1.2.3")
    assert reachable.admits("::ffff:10.1.2.3")
    assert not reachable.admits("10.2.0.1")
    assert not reachable.admits_plainly("10.1.2.3")


def test_without_tls_this_machine_alone_is_asked_where_it_is_listed() -> None:
    assert Reachable([IPv4Network("127.0.0.0/8")]).admits_plainly("127.0.0.1")
    assert not Reachable().admits_plainly("127.0.0.1")
    assert not Reachable().admits_plainly("8.8.8.8")


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("https://Example.com", "example.com", "/"),
        ("https://example.com:8443/a?b=c", "example.com:8443", "/a?b=c"),
        ("https://example.com./", "example.com", "/"),
        ("https://[2606:4700::1]:444/", "[2606:4700::1]:444", "/"),
        ("https://xn--bcher-kva.example/?x", "xn--bcher-kva.example", "/?x"),
    ],
)
def test_a_url_is_read(url: str, authority: str, target: str) -> None:
    found = read_destination(url)
    assert (found.authority, found.target) == (authority, target)
    assert target == "/" or target not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "http://example.com/",
        "HTTP://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com#x",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:x/",
        "https://exa mple.com/",
        "https://example.com/\r\nx: y",
        "https://example.com\\@127.0.0.1/",
        "https://bücher.example/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1.0x1/",
        "https://[::1%25lo]/",
        "https://[127.0.0.1]/",
        "https://-a.example/",
        "https://a..example/",
        "https://" + "a" * 64 + ".example/",
        "https://example.com/" + "a" * 2000,
    ],
)
def test_what_libraries_read_differently_is_refused(url: str) -> None:
    with pytest.raises(RefusedDestination):
        read_destination(url)
