"""Signing in and out, and what of it others can learn."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World

from fortress.data import PageQuery
from fortress.domains.identity.contract import InvalidCredentials, UnknownSession, UserStatus
from fortress.domains.identity.service import AccountService, Directory, PasswordGuesses, SessionService, SignInService
from fortress.errors import Invalid
from fortress.security import SYSTEM
from fortress.security.hashing import PasswordHasher


async def test_signing_in_begins_a_session_that_stands(world: World) -> None:
    user = await world.somebody()
    pair = await world.signed_in("ANN@example.com")
    whose, session = world.claims(pair)
    caller = await world.get(Directory).caller_of_session(session, user)
    assert caller is not None
    assert (user, session, ("member",)) == (whose, caller.session, caller.holding.roles)
    assert pair.expires_in == 600
    assert pair.refresh_token not in repr(pair)


@pytest.mark.parametrize("kind", ["unknown", "wrong", "disabled"])
async def test_unknown_wrong_and_disabled_get_one_answer_for_one_amount_of_work(world: World, kind: str) -> None:
    user = await world.somebody()
    if kind == "disabled":
        await world.get(AccountService).set_status(user, UserStatus.DISABLED, SYSTEM)
    email, password = {
        "unknown": ("eve@example.com", PASSWORD),
        "wrong": ("ann@example.com", "not the password"),
        "disabled": ("ann@example.com", PASSWORD),
    }[kind]
    with world.database.counting() as count, pytest.raises(InvalidCredentials) as refused:
        await world.get(SignInService).by_password(email, password, EVERYWHERE)
    assert count.round_trips == 2
    assert (refused.value.code, refused.value.detail) == ("auth.invalid_credentials", "E-mail address or password is wrong.")


async def test_the_audit_log_knows_a_failed_attempt_without_its_address(world: World) -> None:
    for email in ("eve@example.com", "EVE@example.com", "bob@example.com"):
        with pytest.raises(InvalidCredentials):
            await world.get(SignInService).by_password(email, PASSWORD, EVERYWHERE)
    rows = await world.owner.fetch("SELECT action, detail::text AS detail FROM audit_log ORDER BY tx, seq")
    assert {"auth.sign_in_failed"} == {row["action"] for row in rows}
    assert rows[0]["detail"] == rows[1]["detail"] != rows[2]["detail"]
    assert not any("eve" in row["detail"].lower() for row in rows)


async def test_a_hash_of_weaker_parameters_is_made_anew(world: World) -> None:
    user = await world.somebody()
    weak = PasswordHasher(8, 1)
    strong = PasswordHasher(16, 1)
    world.get(PasswordGuesses)._hasher = strong
    await world.signed_in()
    weak.close()
    strong.close()
    assert "m=16" in await world.owner.fetchval("SELECT password_hash FROM users WHERE id = $1", user)


async def test_no_connection_is_held_while_a_password_is_hashed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.somebody()
    held = []
    verify = world.hasher.verify

    async def watched(stored: str | None, password: str) -> object:
        held.append((world.database.readers.in_use, world.database.writers.in_use))
        return await verify(stored, password)

    monkeypatch.setattr(world.hasher, "verify", watched)
    await world.signed_in()
    assert held == [(0, 0)]


async def test_signing_out_ends_the_session_and_tells_everyone(world: World) -> None:
    user = await world.somebody()
    _, session = world.claims(await world.signed_in())
    heard: list[str] = []
    heard_one = asyncio.Event()

    def listen(*notice: object) -> None:
        heard.append(str(notice[-1]))
        heard_one.set()

    await world.owner.add_listener("fortress", listen)
    caller = await world.caller(user, session)
    world.callers.put("token", caller, 1e12, world.callers.stamp())
    await world.get(SessionService).sign_out(caller)
    assert world.callers.get("token", 0) is None
    assert await world.get(Directory).caller_of_session(session, user) is None
    await asyncio.wait_for(heard_one.wait(), 5)
    await world.owner.remove_listener("fortress", listen)
    assert [f"revoked:session:{session}"] == heard
    assert (await world.audited())[-1] == "auth.signed_out"


async def test_a_session_ends_when_idle_and_in_any_case(world: World) -> None:
    user = await world.somebody()
    _, session = world.claims(await world.signed_in())
    directory = world.get(Directory)
    world.clock.advance(timedelta(days=13, hours=23))
    assert await directory.caller_of_session(session, user) is not None
    world.clock.advance(timedelta(hours=1))
    assert await directory.caller_of_session(session, user) is None


async def test_a_session_is_of_one_person(world: World) -> None:
    await world.somebody()
    eve = await world.somebody("eve@example.com")
    _, session = world.claims(await world.signed_in())
    assert await world.get(Directory).caller_of_session(session, eve) is None


async def test_people_see_and_end_their_own_sessions_only(world: World) -> None:
    sessions = world.get(SessionService)
    ann, eve = await world.somebody(), await world.somebody("eve@example.com")
    (_, first), (_, second) = world.claims(await world.signed_in()), world.claims(await world.signed_in())
    page = await sessions.recent(PageQuery(), await world.caller(ann, first))
    assert {first, second} == {session.id for session in page.items}
    assert (await sessions.recent(PageQuery(), await world.caller(eve))).items == []
    with pytest.raises(UnknownSession):
        await sessions.end(first, await world.caller(eve))
    await sessions.end(second, await world.caller(ann, first))
    with pytest.raises(UnknownSession):
        await sessions.end(second, await world.caller(ann, first))
    page = await sessions.recent(PageQuery(), await world.caller(ann, first))
    assert [first] == [session.id for session in page.items]


async def test_a_new_password_ends_every_other_session_and_is_told(world: World) -> None:
    accounts, directory = world.get(AccountService), world.get(Directory)
    ann = await world.somebody()
    (_, here), (_, there) = world.claims(await world.signed_in()), world.claims(await world.signed_in())
    await accounts.change_password(PASSWORD, "a drawbridge, drawn up", await world.caller(ann, here), EVERYWHERE)
    assert await directory.caller_of_session(here, ann) is not None
    assert await directory.caller_of_session(there, ann) is None
    with pytest.raises(InvalidCredentials):
        await world.signed_in()
    await world.get(SignInService).by_password("ann@example.com", "a drawbridge, drawn up", EVERYWHERE)
    await world.posted()
    assert "password" in world.letters.sent[-1].subject


@pytest.mark.parametrize(
    ("current", "new", "field"), [("wrong", "a drawbridge, drawn up", "/current_password"), (PASSWORD, "12345678", "/new_password")]
)
async def test_a_password_is_changed_by_who_knows_it_to_one_that_is_good(world: World, current: str, new: str, field: str) -> None:
    ann = await world.somebody()
    with pytest.raises(Invalid) as refused:
        await world.get(AccountService).change_password(current, new, await world.caller(ann), EVERYWHERE)
    assert [field] == [error.field for error in refused.value.errors]
    await world.signed_in()


async def test_who_signs_in_while_the_password_changes_does_not_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await world.somebody()
    caller = await world.caller(ann)
    verify = world.hasher.verify

    async def slow(stored: str | None, password: str) -> object:
        verified = await verify(stored, password)
        monkeypatch.undo()
        await world.get(AccountService).change_password(PASSWORD, "a drawbridge, drawn up", caller, EVERYWHERE)
        return verified

    monkeypatch.setattr(world.hasher, "verify", slow)
    with pytest.raises(InvalidCredentials):
        await world.signed_in()
    assert await world.owner.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == 0


async def test_what_ended_long_ago_is_forgotten(world: World) -> None:
    await world.somebody()
    await world.signed_in()
    world.clock.advance(timedelta(days=119))
    assert await world.get(SessionService).forget_ended() == 0
    world.clock.advance(timedelta(days=2))
    assert await world.get(SessionService).forget_ended() == 1
