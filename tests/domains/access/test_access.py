"""Roles: who may give them, and that somebody always can."""

from __future__ import annotations

import asyncio

import pytest
from tests.domains.conftest import World

from fortress.domains.access.contract import LastAdministrator, NotAHolder, NotHeld
from fortress.domains.access.service import AccessService, RoleService
from fortress.domains.access.service.assigning import unknown_roles
from fortress.domains.access.service.holdings import Assignment
from fortress.errors import Forbidden, Invalid
from fortress.security import SYSTEM, Method, Principal


async def test_an_administrator_decides_over_roles(world: World) -> None:
    access = world.get(AccessService)
    boss = await world.caller(await world.somebody("boss@example.com", "admin"))
    ann = await world.somebody()
    assert await access.replace_roles(ann, ["admin", "admin"], boss) == (Assignment("admin"),)
    assert await access.roles_of(ann) == ("member", "admin")
    assert (await world.audited())[-1] == "access.roles_changed"
    assert await world.owner.fetchval("SELECT count(*) FROM events WHERE name = 'RolesChanged' AND actor_id = $1", boss.id) == 1


async def test_a_change_of_roles_is_heard_everywhere_and_here(world: World) -> None:
    heard, heard_one = list[str](), asyncio.Event()

    def listen(*notice: object) -> None:
        heard.append(str(notice[-1]))
        heard_one.set()

    ann = await world.somebody()
    world.callers.put("token", await world.caller(ann), 1e12, world.callers.stamp())
    await world.owner.add_listener("fortress", listen)
    await world.get(AccessService).replace_roles(ann, ["admin"], SYSTEM)
    await asyncio.wait_for(heard_one.wait(), 5)
    await world.owner.remove_listener("fortress", listen)
    assert [f"revoked:user:{ann}"] == heard
    assert world.callers.get("token", 0) is None


async def test_the_account_itself_can_not_be_lost(world: World) -> None:
    ann = await world.somebody()
    await world.get(AccessService).replace_roles(ann, [], SYSTEM)
    assert await world.get(AccessService).roles_of(ann) == ("member",)


async def test_nobody_gives_or_takes_what_they_do_not_hold(world: World) -> None:
    access = world.get(AccessService)
    boss, ann = await world.somebody("boss@example.com", "admin"), await world.somebody()
    await world.somebody("chief@example.com", "admin")
    weak = await world.caller(ann)
    for person, roles in ((ann, ["admin"]), (boss, []), (boss, ["member"])):
        with pytest.raises(NotHeld) as refused:
            await access.replace_roles(person, roles, weak)
        assert isinstance(refused.value, Forbidden)
    assert await access.roles_of(boss) == ("member", "admin")


async def test_grants_that_a_token_claims_do_not_count_beside_the_database(world: World) -> None:
    ann = await world.somebody()
    every = world.permissions.grants_of(["admin"], Method.SYSTEM)
    with pytest.raises(NotHeld):
        await world.get(AccessService).replace_roles(ann, ["admin"], Principal(ann, Method.SESSION, every))


async def test_an_unknown_role_is_refused_by_its_place(world: World) -> None:
    ann = await world.somebody()
    with pytest.raises(Invalid) as refused:
        await world.get(AccessService).replace_roles(ann, ["member", "king", "queen"], SYSTEM)
    assert [error.field for error in refused.value.errors] == ["/roles/1", "/roles/2"]
    assert unknown_roles(["member"], world.permissions.roles) == []


async def test_an_unknown_person_is_not_found(world: World) -> None:
    with pytest.raises(NotAHolder):
        await world.get(AccessService).replace_roles(world.ids.new(), ["admin"], SYSTEM)


async def test_the_last_administrator_stays(world: World) -> None:
    access = world.get(AccessService)
    boss = await world.somebody("boss@example.com", "admin")
    caller = await world.caller(boss)
    with pytest.raises(LastAdministrator):
        await access.replace_roles(boss, ["member"], caller)
    await world.somebody("chief@example.com", "admin")
    assert await access.replace_roles(boss, ["member"], caller) == (Assignment("member"),)


@pytest.mark.parametrize("attempt", range(5))
async def test_two_administrators_who_remove_each_other_at_once_leave_one(world: World, attempt: int) -> None:
    access = world.get(AccessService)
    one, other = await world.somebody("one@example.com", "admin"), await world.somebody("other@example.com", "admin")
    first, second = await world.caller(one), await world.caller(other)
    await asyncio.gather(access.replace_roles(other, [], first), access.replace_roles(one, [], second), return_exceptions=True)
    left = await world.owner.fetchval("SELECT count(*) FROM role_holders WHERE 'admin' = ANY (roles)")
    assert left == 1


async def test_many_administrators_who_all_leave_at_once_leave_one(world: World) -> None:
    access = world.get(AccessService)
    everyone = [await world.somebody(f"a{number}@example.com", "admin") for number in range(6)]
    await asyncio.gather(*(access.replace_roles(one, [], SYSTEM) for one in everyone), return_exceptions=True)
    assert await world.owner.fetchval("SELECT count(*) FROM role_holders WHERE 'admin' = ANY (roles)") == 1


def test_what_is_declared_can_be_read(world: World) -> None:
    defined = world.get(RoleService)
    roles = {role.name: role for role in defined.declared_roles()}
    assert roles["admin"].grants == ["*"]
    assert roles["member"].by_default
    assert "users:read.own" in roles["member"].grants
    permissions = {permission.name: permission for permission in defined.declared_permissions()}
    assert permissions["users:read"].grants == ["users:read.own", "users:read.any"]
    assert permissions["roles:assign"].by == ["session"]
