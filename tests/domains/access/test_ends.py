"""Roles that end by themselves, roles that are changed while people hold them, and people who leave."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from tests.domains.conftest import NOON, World

from fortress.data import PageQuery
from fortress.domains.access.contract import LastAdministrator, NotAHolder, NotHeld, RoleExists, RoleHeld, TooManyRoles
from fortress.domains.access.repository import CustomRoles
from fortress.domains.access.service import (
    AccessRecords,
    AccessService,
    ExplainService,
    RoleOperations,
    RoleService,
    UsageService,
    defining,
)
from fortress.domains.access.service.defining import RoleWish
from fortress.domains.access.service.holdings import Assignment
from fortress.domains.identity.service import Directory
from fortress.errors import Invalid, Refusal
from fortress.security import SYSTEM, Method
from fortress.security.tokens import AccessTokens
from fortress.security.uses import Use
from fortress.security.verifiers import SessionVerifier

AUDITOR = RoleWish("auditor", "Reads the log", ("audit:read",))
HOUR = timedelta(hours=1)


async def made(world: World, wish: RoleWish = AUDITOR) -> None:
    await world.get(RoleService).make(wish, SYSTEM)


async def held(world: World, person: UUID) -> set[str]:
    """The names of what this person may do in a session with one factor."""
    holding = await world.get(AccessService).holding_of(person)
    return set(world.permissions.names_of(world.permissions.held(holding, Method.SESSION, 1).grants))


async def test_what_somebody_holds_takes_one_round_trip_however_many_roles_there_are(world: World) -> None:
    ann = await world.somebody()
    for number in range(20):
        await made(world, RoleWish(f"role-{number}", "One of many", ("audit:read",)))
    await world.get(AccessService).replace_roles(ann, [f"role-{number}" for number in range(20)], SYSTEM)
    await world.get(AccessService).holding_of(ann)
    with world.database.counting() as count:
        assert (await world.get(AccessService).holding_of(ann)).grants == ("audit:read",)
    assert count.round_trips == 1


async def test_a_role_that_has_ended_is_not_held_whether_or_not_anything_has_run(world: World) -> None:
    access = world.get(AccessService)
    await made(world)
    ann = await world.somebody()
    await access.replace_roles(ann, ["member", Assignment("auditor", NOON + HOUR)], SYSTEM)
    assert (await access.holding_of(ann)).until == NOON + HOUR
    assert "audit:read" in await held(world, ann)
    world.clock.advance(HOUR)
    assert "audit:read" not in await held(world, ann)
    assert await access.assigned_to(ann) == ("member",)
    assert (await access.holding_of(ann)).until is None
    # Nor does it keep the role from being removed.
    await world.get(RoleService).remove("auditor", SYSTEM)


async def test_upkeep_takes_what_has_ended_off_the_books_and_says_so_once(world: World) -> None:
    access = world.get(AccessService)
    ann, bob = await world.somebody(), await world.somebody("bob@example.com")
    await access.replace_roles(ann, ["member", Assignment("admin", NOON + HOUR)], SYSTEM)
    await access.replace_roles(bob, [Assignment("admin", NOON + 3 * HOUR)], SYSTEM)
    assert await access.take_ended() == 0
    world.clock.advance(2 * HOUR)
    assert await access.take_ended() == 1
    assert await access.take_ended() == 0
    row = await world.owner.fetchrow("SELECT roles, expires::text, ends_at FROM role_holders WHERE user_id = $1", ann)
    assert tuple(row or ()) == (["member"], "{}", None)
    assert (await world.audited())[-1] == "access.roles_ended"
    assert await world.owner.fetchval("SELECT ends_at FROM role_holders WHERE user_id = $1", bob) == NOON + 3 * HOUR


async def test_servers_that_tidy_at_once_take_each_role_once(world: World) -> None:
    access = world.get(AccessService)
    for number in range(8):
        person = await world.somebody(f"p{number}@example.com")
        await access.replace_roles(person, [Assignment("admin", NOON + HOUR)], SYSTEM)
    world.clock.advance(HOUR)
    assert sum(await asyncio.gather(*(access.take_ended() for _ in range(4)))) == 8
    assert (await world.audited()).count("access.roles_ended") == 8


async def test_an_administrator_for_a_while_does_not_let_the_last_one_go(world: World) -> None:
    access = world.get(AccessService)
    boss = await world.somebody("boss@example.com", "admin")
    deputy = await world.somebody("deputy@example.com")
    await access.replace_roles(deputy, [Assignment("admin", NOON + HOUR)], SYSTEM)
    for roles in ([], [Assignment("admin", NOON + HOUR)]):
        with pytest.raises(LastAdministrator):
            await access.replace_roles(boss, roles, SYSTEM)
    for leave in (access.leave, access.suspend):
        with pytest.raises(LastAdministrator):
            async with world.database.unit(SYSTEM) as unit:
                await leave(unit, boss)
    assert await access.has_administrator()
    async with world.database.unit(SYSTEM) as unit:
        await access.leave(unit, deputy)


@pytest.mark.parametrize("attempt", range(5))
async def test_two_administrators_who_leave_at_once_leave_one(world: World, attempt: int) -> None:
    access = world.get(AccessService)

    async def leave(person: UUID) -> None:
        async with world.database.unit(SYSTEM) as unit:
            await access.leave(unit, person)

    everyone = [await world.somebody(f"a{number}@example.com", "admin") for number in range(4)]
    ended = await asyncio.gather(
        *(leave(one) for one in everyone[:2]), *(access.replace_roles(one, [], SYSTEM) for one in everyone[2:]), return_exceptions=True
    )
    assert [type(one).__name__ for one in ended].count("LastAdministrator") == 1
    assert await world.owner.fetchval("SELECT count(*) FROM role_holders WHERE 'admin' = ANY (roles)") == 1


async def test_who_leaves_leaves_nothing_and_can_not_leave_twice(world: World) -> None:
    ann = await world.somebody("ann@example.com", "admin")
    await world.somebody("boss@example.com", "admin")
    await world.get(UsageService).keep_uses([Use(ann, "audit:read", NOON.date())])
    records = world.get(AccessRecords)
    kept = await records.export(ann)
    assert [one.name for one in kept["roles"]] == ["member", "admin"]
    assert [one.grant_name for one in kept["uses"]] == ["audit:read"]
    for _ in range(2):
        async with world.database.unit(SYSTEM) as unit:
            await records.erase(unit, ann)
    with pytest.raises(NotAHolder):
        async with world.database.unit(SYSTEM) as unit:
            await world.get(AccessService).leave(unit, ann)
    assert not any(map(bool, (await records.export(ann)).values()))
    assert await world.owner.fetchval("SELECT count(*) FROM permission_uses") == 0
    # What another process has still noted of them does not bring them back.
    await world.get(UsageService).keep_uses([Use(ann, "audit:read", NOON.date())])
    assert await world.owner.fetchval("SELECT count(*) FROM permission_uses") == 0


async def test_a_change_of_a_role_is_heard_everywhere_and_empties_the_memory_here(world: World) -> None:
    heard = asyncio.Queue[str]()
    await made(world)
    ann = await world.somebody("ann@example.com", "auditor")
    await world.owner.add_listener("fortress", lambda *notice: heard.put_nowait(str(notice[-1])))
    for change in (
        world.get(RoleService).change(RoleWish("auditor", "Other", ("users:list",)), SYSTEM),
        world.get(AccessService).replace_roles(ann, [], SYSTEM),
        world.get(RoleService).remove("auditor", SYSTEM),
    ):
        stamp = world.callers.stamp()
        world.callers.put("token", await world.caller(ann), 1e12, stamp)
        await change
        assert world.callers.get("token", 0) is None
    told = [await asyncio.wait_for(heard.get(), 5) for _ in range(3)]
    assert told == ["revoked:roles:*", f"revoked:user:{ann}", "revoked:roles:*"]


async def test_a_load_that_began_before_a_role_changed_is_not_remembered(world: World) -> None:
    await made(world)
    ann = await world.somebody("ann@example.com", "auditor")
    stamp, before = world.callers.stamp(), await world.caller(ann)
    await world.get(RoleService).change(RoleWish("auditor", "Other", ()), SYSTEM)
    assert not world.callers.put("token", before, 1e12, stamp)


@pytest.mark.parametrize("attempt", range(10))
async def test_a_role_that_is_given_and_removed_at_once_is_either_held_or_gone(world: World, attempt: int) -> None:
    ann = await world.somebody()
    await made(world)
    given, removed = await asyncio.gather(
        world.get(AccessService).replace_roles(ann, ["auditor"], SYSTEM),
        world.get(RoleService).remove("auditor", SYSTEM),
        return_exceptions=True,
    )
    there = await world.owner.fetchval("SELECT count(*) FROM custom_roles")
    if isinstance(removed, RoleHeld):
        assert not isinstance(given, BaseException)
        assert there == 1
    else:
        assert removed is None
        assert isinstance(given, Invalid)
        assert there == 0


@pytest.mark.parametrize("attempt", range(5))
async def test_of_two_who_make_a_role_of_one_name_at_once_one_does(world: World, attempt: int) -> None:
    ended = await asyncio.gather(*(made(world) for _ in range(4)), return_exceptions=True)
    assert [type(one) for one in ended].count(RoleExists) == 3


async def test_there_are_only_so_many_roles(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defining, "MOST", 3)
    wishes = [RoleWish(f"role-{number}", "One of many", ()) for number in range(6)]
    ended = await asyncio.gather(*(made(world, wish) for wish in wishes), return_exceptions=True)
    assert [type(one) for one in ended].count(TooManyRoles) == 3
    assert await world.owner.fetchval("SELECT count(*) FROM custom_roles") == 3


async def test_what_a_made_role_grants_must_be_held_with_the_factors_it_asks_for(world: World) -> None:
    await made(world, RoleWish("maker", "Makes roles", ("roles:write", "audit:read"), second_factor=True))
    eve = await world.caller(await world.somebody("eve@example.com", "maker"))
    with pytest.raises(NotHeld):
        await world.get(RoleService).make(AUDITOR, eve)


async def test_the_log_says_what_a_role_gave_and_took_however_long_that_is(world: World) -> None:
    grants = tuple(sorted(name for one in world.get(RoleService).declared_permissions() for name in one.grants))
    role = await world.get(RoleService).make(RoleWish("x" * 60, "t" * 120, grants), SYSTEM)
    await world.get(RoleService).change(RoleWish(role.name, "Other", grants[1:]), SYSTEM)
    rows = await world.owner.fetch("SELECT action, detail::text FROM audit_log WHERE action LIKE 'access.role%' ORDER BY tx, seq")
    assert [row["action"] for row in rows][-1] == "access.role_changed"
    said = " ".join(row["detail"] for row in rows)
    assert all(f'"{grant}"' in said for grant in grants)
    assert f'"taken": ["{grants[0]}"]' in rows[-1]["detail"]


async def test_the_log_says_who_held_what_however_long_that_is(world: World) -> None:
    ann = await world.somebody()
    for number in range(20):
        await made(world, RoleWish(f"role-{number:02}-".ljust(60, "x"), "Long", ()))
    names = [role.name for role in (await world.get(RoleService).recent(PageQuery(100), SYSTEM)).items if role.name.startswith("role-")]
    for end in (NOON + HOUR, NOON + 2 * HOUR):
        await world.get(AccessService).replace_roles(ann, [Assignment(name, end) for name in names], SYSTEM)
    assert (await world.audited()).count("access.roles_changed") == 2


async def test_a_grant_that_no_domain_declares_any_more_gives_nothing_and_breaks_nothing(world: World) -> None:
    await made(world, RoleWish("auditor", "Reads the log", ("audit:read", "users:list")))
    ann = await world.somebody("ann@example.com", "auditor")
    await world.owner.execute("UPDATE custom_roles SET grants = '{audit:read,gone:grant}'")
    assert {"audit:read"} == {name for name in await held(world, ann) if name.startswith(("audit", "gone"))}
    role = await world.get(RoleService).read("auditor")
    with pytest.raises(Invalid):
        await world.get(RoleService).change(RoleWish("auditor", "Same", tuple(role.grants)), SYSTEM)


async def test_steps_at_the_shell_leave_the_rest_as_it_is(world: World) -> None:
    operations = world.get(RoleOperations)
    ann = await world.somebody()
    await operations.make_role("auditor", "Reads the log", ["audit:read"], second_factor=False)
    changed = await operations.change_role("auditor", title=None, given=["users:list"], taken=["audit:read"], second_factor=True)
    assert (changed.title, changed.grants, changed.second_factor) == ("Reads the log", ["users:list"], True)
    await operations.assign_roles(ann, ["auditor"], [], NOON + HOUR)
    assert await operations.roles_of_person(ann) == (Assignment("member"), Assignment("auditor", NOON + HOUR))
    await operations.assign_roles(ann, ["admin"], ["auditor", "never-held"], None)
    assert await operations.roles_of_person(ann) == (Assignment("member"), Assignment("admin"))
    with pytest.raises(Refusal):
        await operations.assign_roles(ann, ["nope"], [], None)


async def test_every_query_of_made_roles_is_bounded(world: World) -> None:
    for query in CustomRoles.queries.values():
        assert " LIMIT " in query.sql


async def test_a_remembered_caller_is_forgotten_at_the_moment_a_role_of_theirs_ends(world: World) -> None:
    await made(world)
    ann = await world.somebody()
    await world.get(AccessService).replace_roles(ann, ["member", Assignment("auditor", NOON + timedelta(minutes=1))], SYSTEM)
    token = (await world.signed_in()).access_token
    verifier = SessionVerifier(
        world.get(AccessTokens), world.get(Directory), world.permissions, world.callers, certain=lambda: True, clock=world.clock
    )
    auditing = world.permissions.need(world.permissions.permissions["audit:read"]).mask
    assert (await verifier.verify(token)).grants & auditing
    world.clock.advance(timedelta(seconds=59))
    known = verifier.known(token)
    assert known is not None
    assert known.grants & auditing
    world.clock.advance(timedelta(seconds=1))
    assert verifier.known(token) is None
    assert not (await verifier.verify(token)).grants & auditing


async def test_what_is_missing_is_said_when_a_role_has_ended_and_when_it_is_out_of_use(world: World) -> None:
    access, explaining = world.get(AccessService), world.get(ExplainService)
    await made(world)
    ann = await world.somebody()

    async def missing() -> list[str]:
        return list((await explaining.explain(ann, "audit:read")).missing)

    assert await missing() == ["role"]
    await access.replace_roles(ann, [Assignment("auditor", NOON + HOUR)], SYSTEM)
    assert await missing() == []
    async with world.database.unit(SYSTEM) as unit:
        await access.suspend(unit, ann)
    assert await missing() == ["suspended"]
    world.clock.advance(HOUR)
    assert await missing() == ["suspended", "ended"]
    async with world.database.unit(SYSTEM) as unit:
        await access.resume(unit, ann)
    explained = await explaining.explain(ann, "audit:read")
    assert explained.missing == ["ended"]
    assert explained.given_by == ["admin", "auditor"]
