"""Routes that break a rule are named before anything is served."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fortress.http import PUBLIC, get, per_minute, post
from fortress.http.checks import role_breaches, route_breaches
from fortress.http.routes import Route
from fortress.security import EVERYTHING, Permission, Role

LIMIT = per_minute(10)


async def handler() -> None:
    """Do nothing."""


def rules(*declared: Any) -> list[str]:
    return [breach.rule for breach in route_breaches(declared)]


def test_a_route_with_permission_and_limit_passes() -> None:
    assert rules(get("/a", allow=PUBLIC, limit=LIMIT)(handler)) == []


@pytest.mark.parametrize(
    ("policy", "broken"),
    [
        ({"limit": LIMIT}, ["API001"]),
        ({"allow": PUBLIC}, ["API002"]),
        ({}, ["API001", "API002"]),
        ({"allow": None, "limit": LIMIT}, ["API001"]),
        ({"allow": "orders:read", "limit": LIMIT}, ["API001"]),
        ({"allow": PUBLIC, "limit": 10}, ["API002"]),
        ({"allow": PUBLIC, "limit": LIMIT, "since": 0}, ["API003"]),
        ({"allow": PUBLIC, "limit": LIMIT, "since": 2, "until": 1, "sunset": date(2027, 1, 1)}, ["API003"]),
        ({"allow": PUBLIC, "limit": LIMIT, "until": 1}, ["API003"]),
        ({"allow": PUBLIC, "limit": LIMIT, "idempotent": True}, ["API006"]),
    ],
)
def test_a_route_without_a_whole_policy_is_refused(policy: Any, broken: list[str]) -> None:
    assert rules(post("/a", **policy)(handler)) == broken


def test_what_is_not_a_route_is_refused_by_name() -> None:
    (breach,) = route_breaches([handler])
    assert breach.rule == "API001"
    assert "handler" in breach.what
    assert breach.where.endswith(f"test_checks.py:{handler.__code__.co_firstlineno}")


def test_a_mounted_app_is_refused_by_name() -> None:
    class Mounted:
        async def __call__(self) -> None: ...

    assert rules(Mounted()) == ["API001"]


def test_a_breach_names_file_and_line() -> None:
    route: Any = Route("GET", "/a", handler, {})  # type: ignore[typeddict-item]  # what the type forbids is the point
    first = next(route_breaches([route]))
    assert "GET /api/v*/a" in first.what
    assert first.where.endswith(f"test_checks.py:{handler.__code__.co_firstlineno}")


READ = Permission("things:read", "See things", reach=True)
LOCK = Permission("things:lock", "Lock things")


def broken_by(*roles: Role) -> list[tuple[str, str]]:
    routes = [get("/things", allow=READ, limit=LIMIT)(handler), handler]
    return [(breach.rule, breach.what) for breach in role_breaches([("things", role) for role in roles], routes, "owner")]


def test_a_role_that_holds_what_a_route_needs_passes() -> None:
    assert broken_by(Role("reader", "Reads", [READ.own, READ]), Role("nobody", "Does nothing", [])) == []


def test_a_role_that_holds_what_no_route_needs_is_refused_and_both_are_named() -> None:
    assert broken_by(Role("keeper", "Keeps", [READ.any, LOCK, LOCK.any])) == [
        ("AUTH004", "role keeper holds things:lock, which no route needs"),
    ]


def test_only_the_owner_holds_everything() -> None:
    assert broken_by(Role("owner", "Owns", EVERYTHING)) == []
    assert broken_by(Role("boss", "Bosses", EVERYTHING)) == [("AUTH004", "role boss may do everything")]
