"""What domains add up to, and what is refused before anything is served."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol
from uuid import UUID

import pytest

from fortress import Fortress
from fortress.bootstrap.assembly import Assembly
from fortress.data import Entity, OwnKey, Personal, Unit
from fortress.domain import Domain
from fortress.domains import standard
from fortress.errors import BrokenRules, CannotStart
from fortress.http import PUBLIC, Limit, get, per_minute
from fortress.http.routes import Route
from fortress.security import Permission, Role
from fortress.settings import Settings

READ = Permission("things:read", "See things")


class Things(Protocol):
    async def count(self) -> int: ...


async def read() -> None:
    """Read."""


def test_two_domains_of_one_name_are_refused() -> None:
    with pytest.raises(CannotStart, match="domain 'things'"):
        Assembly([Domain("things"), Domain("things")], current=1)


def test_two_permissions_of_one_name_are_refused() -> None:
    with pytest.raises(CannotStart, match="'things:read' is declared twice"):
        Assembly([Domain("a", permissions=[READ]), Domain("b", permissions=[READ])], current=1)


def test_a_role_that_grants_what_nobody_declares_is_refused() -> None:
    role = Role("reader", "Reads", grants=[READ])
    with pytest.raises(CannotStart, match="grants 'things:read'"):
        Assembly([Domain("a", roles=[role])], current=1)


def test_a_role_that_holds_what_no_route_needs_stops_the_start() -> None:
    role = Role("reader", "Reads", grants=[READ])
    with pytest.raises(BrokenRules) as caught:
        Assembly([Domain("a", permissions=[READ], roles=[role])], current=1)
    (breach,) = caught.value.breaches
    assert (breach.rule, breach.where) == ("AUTH004", "domain a")
    route = get("/things", allow=READ, limit=per_minute(1))(read)
    assert Assembly([Domain("a", permissions=[READ], roles=[role], routes=[route])], current=1).permissions.roles == {"reader": role}


def test_a_door_without_a_service_behind_it_is_refused() -> None:
    with pytest.raises(CannotStart, match="Things promises: count"):
        _ = Assembly([Domain("things", door=Things)], current=1).doors


def test_all_broken_rules_are_named_at_once() -> None:
    bare: list[object] = [get("/a", limit=per_minute(1))(read), read]  # type: ignore[call-arg]  # what the type forbids is the point
    with pytest.raises(BrokenRules) as caught:
        Assembly([Domain("things", routes=bare)], current=1)
    assert [breach.rule for breach in caught.value.breaches] == ["API001", "API001"]
    assert "2 rules are broken" in str(caught.value)


def test_a_handler_in_a_module_that_lost_its_decorator_is_refused() -> None:
    module = ModuleType(read.__module__)
    module.read = read  # type: ignore[attr-defined]  # a module made for the test
    with pytest.raises(BrokenRules):
        Assembly([Domain("things", routes=module)], current=1)


def test_a_project_has_the_last_word_on_limits_and_leaves_the_declaration_alone() -> None:
    route = get("/a", allow=PUBLIC, limit=per_minute(1))(read)

    def wider(_route: Route, limit: Limit) -> Limit:
        return Limit(limit.quota * 10, limit.window)

    assembly = Assembly([Domain("things", routes=[route])], current=1, set_limit=wider)
    assert next(given for given in assembly.routes if given.path == "/a").policy["limit"].quota == 10
    assert route.policy["limit"].quota == 1


def test_without_anyone_who_knows_callers_nothing_starts() -> None:
    with pytest.raises(CannotStart, match="CallerDirectory"):
        Fortress(domains=[Domain("things")]).check(Settings())


@pytest.mark.parametrize("host", ["0.0.0.0", "203.0.113.5"])
def test_plain_http_beyond_loopback_is_refused_in_production(host: str) -> None:
    settings = Settings.model_validate({"env": "production", "database_url": "postgresql://x", "keyring": "k", "host": host})
    with pytest.raises(CannotStart, match="SEC001"):
        Fortress(domains=standard).check(settings)
    Fortress(domains=standard).check(settings.model_copy(update={"trusted_proxies": ("10.0.0.0/8",)}))


class Friend(Entity, frozen=True):
    __tablename__ = "friends"
    id: OwnKey
    nickname: Personal[str]


class Friends:
    async def export(self, person: UUID) -> dict[str, list[Any]]:
        return {"friends": [person]}

    async def erase(self, unit: Unit, person: UUID) -> None:
        del unit, person


def test_personal_data_that_nobody_can_have_or_forget_stops_the_start() -> None:
    with pytest.raises(BrokenRules) as caught:
        Assembly([Domain("friends", models=[Friend])], current=1)
    (breach,) = caught.value.breaches
    assert (breach.rule, breach.where) == ("SEC002", "domain friends")
    assert "Friend" in breach.what
    assert Assembly([Domain("friends", models=[Friend], personal=Friends)], current=1).personal_names() == {"nickname"}
