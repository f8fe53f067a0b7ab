"""Accounts as administrators and other domains see them."""

from __future__ import annotations

import msgspec
import pytest
from tests.domains.conftest import World

from fortress.data import PageQuery
from fortress.domains.access.contract import LastAdministrator
from fortress.domains.identity.contract import InvalidCredentials, NotYourself, People, UserStatus
from fortress.domains.identity.service import AccountService, Directory
from fortress.errors import NotFound
from fortress.security import SYSTEM, Reach


async def test_a_disabled_account_is_out_at_once_and_back_when_enabled(world: World) -> None:
    accounts, directory = world.get(AccountService), world.get(Directory)
    admin, ann = await world.somebody("boss@example.com", "admin"), await world.somebody()
    boss = await world.caller(admin)
    _, session = world.claims(await world.signed_in())
    world.callers.put("token", await world.caller(ann, session), 1e12, world.callers.stamp())
    assert UserStatus.DISABLED is (await accounts.set_status(ann, UserStatus.DISABLED, boss)).status
    assert world.callers.get("token", 0) is None
    assert await directory.caller_of_session(session, ann) is None
    with pytest.raises(InvalidCredentials):
        await world.signed_in()
    await accounts.set_status(ann, UserStatus.ACTIVE, boss)
    assert await directory.caller_of_session(session, ann) is None
    await world.signed_in()
    assert {"users.disabled", "users.enabled"} <= set(await world.audited())


async def test_disabling_twice_changes_nothing(world: World) -> None:
    ann = await world.somebody()
    accounts = world.get(AccountService)
    first = await accounts.set_status(ann, UserStatus.DISABLED, SYSTEM)
    assert first == await accounts.set_status(ann, UserStatus.DISABLED, SYSTEM)
    assert (await world.audited()).count("users.disabled") == 1


async def test_nobody_disables_themself(world: World) -> None:
    admin = await world.somebody("boss@example.com", "admin")
    with pytest.raises(NotYourself):
        await world.get(AccountService).set_status(admin, UserStatus.DISABLED, await world.caller(admin))


async def test_the_last_administrator_is_not_disabled(world: World) -> None:
    admin = await world.somebody("boss@example.com", "admin")
    with pytest.raises(LastAdministrator):
        await world.get(AccountService).set_status(admin, UserStatus.DISABLED, SYSTEM)
    await world.signed_in("boss@example.com")


async def test_another_persons_account_is_not_there_for_who_reaches_their_own(world: World) -> None:
    accounts = world.get(AccountService)
    ann, eve = await world.somebody(), await world.somebody("eve@example.com")
    mine = (await world.caller(eve)).reaching(Reach.OWN)
    assert eve == (await accounts.read(eve, mine)).id
    with pytest.raises(NotFound) as refused:
        await accounts.read(ann, mine)
    assert refused.value.code == "users.not_found"
    assert [eve] == [user.id for user in (await accounts.recent(PageQuery(), mine)).items]


async def test_other_domains_learn_who_somebody_is(world: World) -> None:
    ann = await world.somebody()
    people = world.container.get(People)
    person = await people.person(ann)
    assert person is not None
    assert (person.email, person.active) == ("ann@example.com", True)
    assert "ann@example.com" not in repr(person)
    assert await people.person(world.ids.new()) is None


async def test_no_view_of_an_account_shows_a_hash(world: World) -> None:
    from fortress.domains.identity.service.views import user_view

    ann = await world.somebody()
    user = await world.get(AccountService).read(ann, SYSTEM)
    assert b"argon2" not in msgspec.json.encode(user_view(user))
