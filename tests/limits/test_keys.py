from __future__ import annotations

from uuid import UUID

import pytest

from fortress.limits.keys import limit_key, network_of
from fortress.security.permissions import Method
from fortress.security.principal import ANONYMOUS, SYSTEM, Principal

ADA = UUID(int=7)
GRACE = UUID(int=8)


def test_a_person_is_counted_by_their_id_wherever_they_are() -> None:
    ada = Principal(ADA, Method.SESSION)
    assert limit_key("r", ada, "192.0.2.1") == limit_key("r", ada, "2001:db8::1")
    assert limit_key("r", ada, "192.0.2.1") != limit_key("r", Principal(GRACE, Method.SESSION), "192.0.2.1")


def test_more_sessions_or_api_keys_buy_no_more_requests() -> None:
    session = Principal(ADA, Method.SESSION, session=UUID(int=1))
    api_key = Principal(ADA, Method.API_KEY, session=UUID(int=2))
    assert limit_key("r", session, "") == limit_key("r", api_key, "")


def test_scopes_are_counted_apart() -> None:
    assert limit_key("a", ANONYMOUS, "192.0.2.1") != limit_key("b", ANONYMOUS, "192.0.2.1")


def test_an_anonymous_caller_can_not_count_as_somebody() -> None:
    keys = {limit_key("r", caller, "192.0.2.1") for caller in (ANONYMOUS, SYSTEM, Principal(ADA, Method.SESSION))}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002::9"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("192.0.2.1", "::ffff:c000:201"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("", "unix"),
    ],
)
def test_addresses_of_one_caller_are_one_network(one: str, other: str) -> None:
    assert network_of(one) == network_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", "192.0.2.2"), ("::1", "127.0.0.1"), ("0.0.0.1", "::1:0:0:0:0")],
)
def test_addresses_of_different_callers_are_different_networks(one: str, other: str) -> None:
    assert network_of(one) != network_of(other)
