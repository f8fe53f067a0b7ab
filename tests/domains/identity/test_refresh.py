"""Refresh tokens: one use, one successor, and the end of the family when somebody else has one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from tests.domains.conftest import World

from fortress.domains.identity.contract import InvalidRefreshToken, UserStatus
from fortress.domains.identity.service import AccountService, Directory, RefreshService, SessionService
from fortress.security import SYSTEM

GRACE = timedelta(seconds=10)


async def generation(world: World, session: UUID) -> int:
    return int(await world.owner.fetchval("SELECT generation FROM sessions WHERE id = $1", session))


async def is_dead(world: World, user: UUID, session: UUID) -> bool:
    return await world.get(Directory).caller_of_session(session, user) is None


async def test_a_refresh_gives_another_pair_of_the_same_session(world: World) -> None:
    await world.somebody()
    first = await world.signed_in()
    second = await world.get(RefreshService).refresh(first.refresh_token)
    assert world.claims(first) == world.claims(second)
    assert first.refresh_token != second.refresh_token
    await world.get(RefreshService).refresh(second.refresh_token)
    assert await world.audited() == ["users.signed_up", "auth.signed_in", "auth.refreshed", "auth.refreshed"]


async def test_the_audit_log_names_whose_refresh_it_was(world: World) -> None:
    user = await world.somebody()
    pair = await world.signed_in()
    await world.get(RefreshService).refresh(pair.refresh_token)
    row = await world.owner.fetchrow("SELECT actor_id, session FROM audit_log WHERE action = 'auth.refreshed'")
    assert row is not None
    assert world.claims(pair) == (row["actor_id"], row["session"])
    assert user == row["actor_id"]


@pytest.mark.parametrize("count", [20, 50])
async def test_many_refreshes_of_one_token_at_once_get_one_successor(world: World, count: int) -> None:
    user = await world.somebody()
    pair = await world.signed_in()
    _, session = world.claims(pair)
    service = world.get(RefreshService)
    pairs = await asyncio.gather(*(service.refresh(pair.refresh_token) for _ in range(count)))
    assert len({given.refresh_token for given in pairs}) == 1
    assert await generation(world, session) == 1
    assert not await is_dead(world, user, session)
    assert (await world.audited()).count("auth.refreshed") == 1
    await service.refresh(pairs[0].refresh_token)


async def test_a_lost_answer_is_given_again_within_the_grace(world: World) -> None:
    await world.somebody()
    pair = await world.signed_in()
    service = world.get(RefreshService)
    lost = await service.refresh(pair.refresh_token)
    world.clock.advance(GRACE - timedelta(milliseconds=1))
    again = await service.refresh(pair.refresh_token)
    assert lost.refresh_token == again.refresh_token
    await service.refresh(again.refresh_token)


async def test_reuse_after_the_grace_kills_the_family(world: World) -> None:
    user = await world.somebody()
    pair = await world.signed_in()
    _, session = world.claims(pair)
    service = world.get(RefreshService)
    newest = await service.refresh(pair.refresh_token)
    caller = await world.caller(user, session)
    world.callers.put("token", caller, 1e12, world.callers.stamp())
    world.clock.advance(GRACE)
    with pytest.raises(InvalidRefreshToken):
        await service.refresh(pair.refresh_token)
    assert world.callers.get("token", 0) is None
    assert await is_dead(world, user, session)
    with pytest.raises(InvalidRefreshToken):
        await service.refresh(newest.refresh_token)
    assert await world.owner.fetchval("SELECT ended_by FROM sessions WHERE id = $1", session) == "reuse"
    assert (await world.audited()).count("session.reuse_detected") == 1
    assert await world.owner.fetchval("SELECT count(*) FROM events WHERE name = 'SessionStolen'") == 1


async def test_the_token_before_the_previous_one_kills_the_family_even_within_the_grace(world: World) -> None:
    user = await world.somebody()
    first = await world.signed_in()
    _, session = world.claims(first)
    service = world.get(RefreshService)
    second = await service.refresh(first.refresh_token)
    await service.refresh(second.refresh_token)
    with pytest.raises(InvalidRefreshToken):
        await service.refresh(first.refresh_token)
    assert await is_dead(world, user, session)


async def test_without_a_grace_the_first_repeat_kills_the_family(world: World) -> None:
    user = await world.somebody()
    pair = await world.signed_in()
    service = world.get(RefreshService)
    service._grace = timedelta(0)
    await service.refresh(pair.refresh_token)
    with pytest.raises(InvalidRefreshToken):
        await service.refresh(pair.refresh_token)
    assert await is_dead(world, user, world.claims(pair)[1])


async def test_one_stolen_family_leaves_the_others_alone(world: World) -> None:
    user = await world.somebody()
    stolen, other = await world.signed_in(), await world.signed_in()
    service = world.get(RefreshService)
    await service.refresh(stolen.refresh_token)
    world.clock.advance(GRACE)
    with pytest.raises(InvalidRefreshToken):
        await service.refresh(stolen.refresh_token)
    assert not await is_dead(world, user, world.claims(other)[1])
    await service.refresh(other.refresh_token)


async def test_many_thieves_at_once_are_one_theft(world: World) -> None:
    await world.somebody()
    pair = await world.signed_in()
    service = world.get(RefreshService)
    await service.refresh(pair.refresh_token)
    world.clock.advance(GRACE)
    answers = await asyncio.gather(*(service.refresh(pair.refresh_token) for _ in range(20)), return_exceptions=True)
    assert {InvalidRefreshToken} == {type(answer) for answer in answers}
    assert (await world.audited()).count("session.reuse_detected") == 1


@pytest.mark.parametrize("kind", ["idle", "absolute", "signed out", "disabled"])
async def test_a_token_of_a_session_that_has_ended_is_refused_and_is_no_theft(world: World, kind: str) -> None:
    user = await world.somebody()
    pair = await world.signed_in()
    service = world.get(RefreshService)
    if kind == "idle":
        world.clock.advance(timedelta(days=14))
    elif kind == "absolute":
        for _ in range(9):
            world.clock.advance(timedelta(days=10))
            pair = await service.refresh(pair.refresh_token) if _ < 8 else pair
    elif kind == "signed out":
        await world.get(SessionService).sign_out(await world.caller(user, world.claims(pair)[1]))
    else:
        await world.get(AccountService).set_status(user, UserStatus.DISABLED, SYSTEM)
    with pytest.raises(InvalidRefreshToken):
        await service.refresh(pair.refresh_token)
    assert "session.reuse_detected" not in await world.audited()


@pytest.mark.parametrize("text", ["", "fr_", "fr_" + "A" * 76, "x" * 500, "eyJhbGciOiJub25lIn0.e30."])
async def test_what_we_did_not_make_is_refused_without_asking_the_database(world: World, text: str) -> None:
    with world.database.counting() as count, pytest.raises(InvalidRefreshToken):
        await world.get(RefreshService).refresh(text)
    assert count.round_trips == 0


async def test_the_database_holds_no_token(world: World) -> None:
    await world.somebody()
    pair = await world.signed_in()
    pair = await world.get(RefreshService).refresh(pair.refresh_token)
    row = await world.owner.fetchval("SELECT s::text FROM sessions s")
    assert pair.refresh_token not in row
    assert pair.refresh_token.encode().hex() not in row
