"""The quick way in: one statement that holds only if the account is still as it was when the password was looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pyotp
import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World

from fortress.domains.identity.contract import InvalidCredentials, MfaRequired, UserStatus
from fortress.domains.identity.service import AccountService, FactorService, SessionService, SignInService
from fortress.security import SYSTEM, Method, Principal
from fortress.security.hashing import Verified

LIVING = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL"
Change = Callable[[World, UUID], Awaitable[object]]


async def sign_in(world: World) -> UUID:
    pair = await world.get(SignInService).by_password("ann@example.com", PASSWORD, EVERYWHERE)
    return world.claims(pair)[1]


def in_between(world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[], Awaitable[object]]) -> None:
    """Let something happen after the account was read, and before the session begins."""
    verify = world.hasher.verify

    async def meanwhile(stored: str | None, password: str) -> Verified:
        verified = await verify(stored, password)
        monkeypatch.undo()
        await change()
        return verified

    monkeypatch.setattr(world.hasher, "verify", meanwhile)


async def enrol(world: World, user: UUID, session: UUID) -> None:
    factors, caller = world.get(FactorService), Principal(user, Method.SESSION, session=session)
    secret = (await factors.enrol(caller)).secret
    await factors.confirm(pyotp.TOTP(secret).at(world.clock.now()), caller)


async def test_a_known_device_without_a_second_factor_is_two_round_trips(world: World) -> None:
    await world.somebody()
    first = await sign_in(world)
    with world.database.counting() as count:
        second = await sign_in(world)
    assert count.round_trips == 2
    assert first != second
    assert await world.owner.fetchval(LIVING) == 2
    assert await world.owner.fetchval("SELECT count(*) FROM audit_log WHERE action = 'auth.signed_in'") == 2


async def test_when_a_device_was_seen_is_kept_to_the_day_on_the_way(world: World) -> None:
    await world.somebody()
    await sign_in(world)
    await world.owner.execute("UPDATE known_devices SET last_seen_at = last_seen_at - interval '1 day'")
    with world.database.counting() as count:
        await sign_in(world)
    assert count.round_trips == 2
    assert await world.owner.fetchval("SELECT last_seen_at FROM known_devices") == world.clock.now()


async def test_the_oldest_session_ends_on_the_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await world.somebody()
    begun = []
    for _ in range(world.settings.sessions_per_user):
        world.clock.advance(timedelta(seconds=1))
        begun.append(await sign_in(world))
    with world.database.counting() as count:
        last = await sign_in(world)
    assert count.round_trips == 2
    assert await world.owner.fetchval(LIVING) == len(begun)
    assert await world.owner.fetchval("SELECT id FROM sessions WHERE ended_by = 'too_many'") == begun[0]
    ended = "SELECT count(*) FROM audit_log WHERE action = 'sessions.ended' AND target = $1"
    assert await world.owner.fetchval(ended, str(begun[0])) == 1
    in_between(world, monkeypatch, lambda: sign_in(world))
    await sign_in(world)
    assert await world.owner.fetchval(LIVING) == len(begun)
    assert last != user


async def test_any_number_at_once_begin_no_more_than_so_many(world: World) -> None:
    await world.somebody()
    for _ in range(world.settings.sessions_per_user - 2):
        await sign_in(world)
    assert len(set(await asyncio.gather(*(sign_in(world) for _ in range(8))))) == 8
    assert await world.owner.fetchval(LIVING) == world.settings.sessions_per_user


async def test_a_second_factor_turned_on_in_between_is_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await world.somebody()
    session = await sign_in(world)
    in_between(world, monkeypatch, lambda: enrol(world, user, session))
    with pytest.raises(MfaRequired):
        await sign_in(world)
    assert await world.owner.fetchval(LIVING) == 1


async def somebody_waits(world: World) -> None:
    """Until a statement waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(500):
        if await world.owner.fetchval(waiting):
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")


async def test_a_second_factor_that_is_being_turned_on_is_waited_for(world: World) -> None:
    """The sign-in has read the account, and comes to write it while the other transaction has not committed yet."""
    user = await world.somebody()
    session = await sign_in(world)
    service, caller = world.get(FactorService), Principal(user, Method.SESSION, session=session)
    secret = (await service.enrol(caller)).secret
    async with world.database.unit(caller) as unit:
        keeper = service._keeper
        before = await keeper.hold(unit, caller)
        signing_in = asyncio.create_task(sign_in(world))
        await somebody_waits(world)
        assert await service._codes.confirm(unit, user, pyotp.TOTP(secret).at(world.clock.now()))
        await keeper.added(unit, caller, "totp", before)
    with pytest.raises(MfaRequired):
        await signing_in


async def disable(world: World, user: UUID) -> None:
    await world.get(AccountService).set_status(user, UserStatus.DISABLED, SYSTEM)


async def new_password(world: World, user: UUID) -> None:
    await world.owner.execute("UPDATE users SET password_hash = $1 WHERE id = $2", await world.hasher.hash("another one, a long one"), user)


@pytest.mark.parametrize("change", [disable, new_password], ids=["disabled", "another password"])
async def test_an_account_that_changes_in_between_lets_nobody_in(world: World, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    user = await world.somebody()
    await sign_in(world)
    await world.get(SessionService).end_all_of(user, SYSTEM)
    in_between(world, monkeypatch, lambda: change(world, user))
    with pytest.raises(InvalidCredentials):
        await sign_in(world)
    assert await world.owner.fetchval(LIVING) == 0


async def test_what_means_nothing_for_a_sign_in_changes_in_between(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await world.somebody()
    await sign_in(world)
    in_between(world, monkeypatch, lambda: world.owner.execute("UPDATE users SET verified_at = now() WHERE id = $1", user))
    await sign_in(world)
    assert await world.owner.fetchval(LIVING) == 2
