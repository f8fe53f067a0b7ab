"""Signing up: what is asked of people, and what nobody learns from it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import ValidationError
from tests.domains.conftest import PASSWORD, World

from fortress.data import PageQuery
from fortress.domains.identity.models.addresses import comparable
from fortress.domains.identity.rest.accounts import SignUp
from fortress.domains.identity.service import AccountService
from fortress.domains.identity.service.accounts import SignUpWish
from fortress.errors import CannotStart, Invalid
from fortress.http.inputs import invalid
from fortress.security import SYSTEM

GOOD = {"email": "ann@example.com", "password": PASSWORD, "age": 30}


def faults(body: dict[str, Any]) -> dict[str, set[str]]:
    """The codes of what is wrong, by field."""
    try:
        SignUp.model_validate_json(json.dumps(body))
    except ValidationError as error:
        found: dict[str, set[str]] = {}
        for one in invalid(error, "/").errors:
            found.setdefault(one.field, set()).add(one.code)
        return found
    return {}


def test_a_good_sign_up_has_no_faults() -> None:
    assert faults(GOOD) == {}
    assert faults(GOOD | {"name": "Ann Example"}) == {}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert faults({"email": "nobody", "password": "aaa", "age": 12, "name": "a\x01", "admin": True}) == {
        "/email": {"email"},
        "/password": {"password.too_short", "password.common"},
        "/age": {"greater_than_equal"},
        "/name": {"control_character"},
        "/admin": {"extra_forbidden"},
    }


@pytest.mark.parametrize("age", [12, -1, 0, 151, 13.5, "30", None, True, 10**30])
def test_an_age_below_13_or_beyond_reason_is_refused(age: object) -> None:
    assert set(faults(GOOD | {"age": age})) == {"/age"}


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@", "@example.com", "a b@example.com", "Ann <ann@example.com>", "a@localhost", "a@example.com\n", "x" * 250 + "@a.com"],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    assert set(faults(GOOD | {"email": email})) == {"/email"}


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\u202eb", "a\u2028b", "x" * 81])
def test_a_name_is_one_line_that_shows_what_it_holds(name: str) -> None:
    assert set(faults(GOOD | {"name": name})) == {"/name"}


def test_a_password_made_of_the_address_is_refused() -> None:
    assert faults(GOOD | {"email": "ann.example@example.com", "password": "ann.example1"}) == {"/password": {"password.personal"}}


def test_what_a_body_holds_is_never_repeated_in_the_errors() -> None:
    with pytest.raises(ValidationError) as refused:
        SignUp.model_validate_json(json.dumps(GOOD | {"password": "hunter2"}))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ann@Example.com", "ann@example.com"), ("ann@EXAMPLE.COM", "ANN@example.com"), ("jose\u0301@example.com", "jos\u00e9@example.com")],
)
def test_addresses_that_people_take_for_one_are_one(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)


async def test_an_account_is_there_with_the_roles_that_everyone_gets(world: World) -> None:
    accounts = world.get(AccountService)
    user = await accounts.sign_up(SignUpWish("Ann@Example.com", PASSWORD, "Ann"))
    stored = await world.owner.fetchrow("SELECT * FROM users")
    assert stored is not None
    assert user.id == stored["id"]
    assert b"ann@example.com".hex() not in str(await world.owner.fetchval("SELECT users::text FROM users")).lower()
    assert await accounts.read(user.id, SYSTEM) == user
    assert stored["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in repr(user)
    assert await accounts.roles_of(user.id) == ("member",)
    assert await world.audited() == ["users.signed_up"]
    assert [row["name"] for row in await world.owner.fetch("SELECT name FROM events")] == ["UserSignedUp"]


async def test_an_address_in_use_gets_the_same_answer_and_its_owner_a_mail(world: World) -> None:
    accounts = world.get(AccountService)
    first = await accounts.sign_up(SignUpWish("ann@example.com", PASSWORD, "Ann"))
    await world.posted()
    world.letters.sent.clear()
    again = await accounts.sign_up(SignUpWish("ANN@example.com", "another strong one", "Mallory"))
    await world.posted()
    assert again.id != first.id
    assert (again.email, again.name) == ("ANN@example.com", "Mallory")
    assert await world.owner.fetchval("SELECT count(*) FROM users") == 1
    assert [mail.to for mail in world.letters.sent] == ["ann@example.com"]
    assert await world.audited() == ["users.signed_up", "users.sign_up_repeated"]


async def test_an_address_in_use_costs_the_same_work(world: World) -> None:
    await world.somebody("warm@example.com")
    await world.somebody("warm@example.com")
    await world.posted()
    world.database.personal.data.clear()
    trips = []
    for _ in range(2):
        with world.database.counting() as count:
            await world.get(AccountService).sign_up(SignUpWish("ann@example.com", PASSWORD, None))
            trips.append(count.round_trips)
        await world.posted()
    assert trips == [7, 7]
    assert len(world.letters.sent) == 4


async def test_of_many_sign_ups_at_once_with_one_address_one_makes_an_account(world: World) -> None:
    accounts = world.get(AccountService)
    wish = SignUpWish("ann@example.com", PASSWORD, None)
    users = await asyncio.gather(*(accounts.sign_up(wish) for _ in range(8)))
    assert len({user.id for user in users}) == 8
    assert await world.owner.fetchval("SELECT count(*) FROM users") == 1


async def test_the_sites_own_name_is_no_password(world: World) -> None:
    with pytest.raises(Invalid) as refused:
        await world.get(AccountService).sign_up(SignUpWish("ann@example.com", "Fortress1", None))
    assert [error.field for error in refused.value.errors] == ["/password"]
    assert await world.owner.fetchval("SELECT count(*) FROM users") == 0


async def test_the_first_administrator_is_made_once(world: World) -> None:
    accounts = world.get(AccountService)
    made = await accounts.ensure_administrator("admin@localhost", None)
    assert made is not None
    assert await accounts.ensure_administrator("admin@localhost", None) is None
    assert await accounts.ensure_administrator("other@localhost", None) is None
    assert [user.email for user in (await accounts.recent(PageQuery(), SYSTEM)).items] == ["admin@localhost"]


async def test_several_processes_at_once_make_one_administrator(world: World) -> None:
    accounts = world.get(AccountService)
    made = await asyncio.gather(*(accounts.ensure_administrator("admin@localhost", None) for _ in range(5)))
    assert sum(password is not None for password in made) == 1


async def test_an_account_that_somebody_made_is_not_turned_into_an_administrator(world: World) -> None:
    await world.somebody("admin@example.com")
    with pytest.raises(CannotStart, match="not as an administrator"):
        await world.get(AccountService).ensure_administrator("admin@example.com", None)


async def test_a_weak_password_makes_no_administrator(world: World) -> None:
    with pytest.raises(CannotStart, match="FORTRESS_ADMIN_PASSWORD"):
        await world.get(AccountService).ensure_administrator("admin@example.com", "password")
