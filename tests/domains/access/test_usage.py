"""What is used is known the next day, and what is not is listed (rule AUTH004)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from tests.domains.conftest import NOON, World

from fortress import Fortress
from fortress.data import PageQuery
from fortress.domains.access.repository import BATCH
from fortress.domains.access.service import AccessService, RoleService, UsageService, usage
from fortress.domains.access.service.defining import RoleWish
from fortress.domains.access.service.holdings import Assignment
from fortress.security import SYSTEM
from fortress.security.uses import Use
from fortress.testing.callers import Callers
from fortress.testing.client import Client

TODAY = NOON.date()
AUDITOR = RoleWish("auditor", "Reads the log", ("audit:read", "users:list"))


async def unused(world: World, days: int = 90, limit: int = 100) -> list[tuple[str, date | None]]:
    """All pages."""
    found, cursor = [], None
    while True:
        page = await world.get(UsageService).unused(PageQuery(limit, cursor), days, SYSTEM)
        found += [(one.grant, one.last_used) for one in page.items]
        cursor = page.next
        if cursor is None:
            return found


async def test_uses_are_kept_by_day_in_one_statement_and_never_go_back(world: World) -> None:
    usage = world.get(UsageService)
    ann, bob = await world.somebody(), await world.somebody("bob@example.com")
    await usage.keep_uses([Use(ann, "audit:read", TODAY), Use(bob, "audit:read", TODAY), Use(ann, "users:list", TODAY)])
    with world.database.counting() as count:
        await usage.keep_uses([Use(ann, "audit:read", TODAY - timedelta(2)), Use(bob, "audit:read", TODAY + timedelta(1))])
    assert count.round_trips <= 3, "BEGIN, the statement, COMMIT"
    rows = await world.owner.fetch("SELECT user_id, grant_name, last_used FROM permission_uses")
    assert {tuple(row) for row in rows} == {
        (ann, "audit:read", TODAY),
        (ann, "users:list", TODAY),
        (bob, "audit:read", TODAY + timedelta(1)),
    }


async def test_what_was_used_long_ago_or_never_is_listed_with_its_day(world: World) -> None:
    await world.get(RoleService).make(AUDITOR, SYSTEM)
    ann = await world.somebody("ann@example.com", "auditor")
    assert await unused(world) == [("audit:read", None), ("users:list", None)]
    await world.get(UsageService).keep_uses([Use(ann, "audit:read", TODAY - timedelta(100)), Use(ann, "users:list", TODAY - timedelta(10))])
    assert await unused(world) == [("audit:read", TODAY - timedelta(100))]
    assert await unused(world, days=5) == [("audit:read", TODAY - timedelta(100)), ("users:list", TODAY - timedelta(10))]
    assert await unused(world, days=365) == []


async def test_who_is_suspended_or_holds_something_no_more_is_not_listed(world: World) -> None:
    access = world.get(AccessService)
    await world.get(RoleService).make(AUDITOR, SYSTEM)
    ann = await world.somebody("ann@example.com", "auditor")
    bob = await world.somebody("bob@example.com")
    await access.replace_roles(bob, [Assignment("auditor", NOON + timedelta(hours=1))], SYSTEM)
    assert len(await unused(world)) == 4
    world.clock.advance(timedelta(hours=1))
    assert len(await unused(world)) == 2
    async with world.database.unit(SYSTEM) as unit:
        await access.suspend(unit, ann)
    assert await unused(world) == []


async def test_the_list_is_whole_whatever_the_size_of_its_pages_and_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.get(RoleService).make(AUDITOR, SYSTEM)
    await world.owner.execute(
        """
        INSERT INTO role_holders (user_id, roles, suspended, changed_at, version)
        SELECT gen_random_uuid(), CASE WHEN n % 3 = 0 THEN '{member}'::text[] ELSE '{member,auditor}'::text[] END, false, now(), 1
        FROM generate_series(1, $1) AS n
        """,
        2 * BATCH,
    )
    holders = await world.owner.fetchval("SELECT count(*) FROM role_holders WHERE 'auditor' = ANY (roles)")
    whole = await unused(world)
    assert len(whole) == 2 * holders
    assert await unused(world, limit=7) == whole
    monkeypatch.setattr(usage, "_MOST_BATCHES", 1)
    assert await unused(world) == whole


async def test_what_passes_the_gate_is_kept_when_the_server_ends(client: Client, callers: Callers, running: Fortress) -> None:
    admin = await callers.administrator()
    role = {"name": "auditor", "title": "Reads", "grants": ["audit:read", "users:list"]}
    assert (await client.post("/roles", role, as_=admin)).status == 201
    ann = await callers.person("ann", roles=["auditor"])
    assert (await client.get("/audit", as_=ann)).status == 200
    await running.stop()
    await running.start()
    listed = (await client.get("/roles/unused?limit=100&days=1", as_=await callers.administrator())).json()["items"]
    assert [one["grant"] for one in listed if one["user_id"] == ann.id] == ["users:list"]
    used_by_admin = {"roles:write", "roles:assign", "roles:read"} - {one["grant"] for one in listed if one["user_id"] == admin.id}
    assert used_by_admin == {"roles:write", "roles:assign"}, "what is asked just now is written within a minute"
