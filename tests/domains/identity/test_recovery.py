"""Forgotten passwords (ASVS V6.4.1, V6.4.3, V6.4.6, V6.5.1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World
from tests.domains.identity.mailbox import mails, tokens

from fortress.domains.identity.contract import InvalidCredentials, UserStatus
from fortress.domains.identity.models import MailedPurpose
from fortress.domains.identity.service import AccountService, AskedAddresses, Directory, MailedTokens, RecoveryService, SignInService
from fortress.domains.identity.service.mailed import MOST_WAITING
from fortress.errors import Invalid, NotFound
from fortress.security import SYSTEM
from fortress.security.wrapping import Unreadable

ANOTHER = "a drawbridge, drawn up"
ABOUT = "Another password"


async def asked(world: World, email: str = "ann@example.com") -> str:
    """A token from a mail that has just been asked for."""
    world.letters.sent.clear()
    await world.get(RecoveryService).forgot(email)
    (token,) = await tokens(world, about=ABOUT)
    return token


async def refused(world: World, token: str, password: str = ANOTHER) -> list[str]:
    """The codes of what is wrong."""
    with pytest.raises(Invalid) as refusal:
        await world.get(RecoveryService).reset(token, password, EVERYWHERE)
    return [error.code for error in refusal.value.errors]


async def test_another_password_ends_every_session_and_the_old_password(world: World) -> None:
    user = await world.somebody()
    _, session = world.claims(await world.signed_in())
    await world.get(RecoveryService).reset(await asked(world), ANOTHER, EVERYWHERE)
    assert await world.get(Directory).caller_of_session(session, user) is None
    with pytest.raises(InvalidCredentials):
        await world.signed_in()
    await world.get(SignInService).by_password("ann@example.com", ANOTHER, EVERYWHERE)
    assert {"users.password_reset"} <= set(await world.audited())
    assert len(await mails(world, to="ann@example.com", about="was changed")) == 1, "V6.3.7"


async def test_it_proves_the_address_too(world: World) -> None:
    user = await world.somebody()
    await world.get(RecoveryService).reset(await asked(world), ANOTHER, EVERYWHERE)
    assert (await world.get(AccountService).read(user, SYSTEM)).verified_at == world.clock.now()


async def test_of_twenty_at_once_one_is_the_one(world: World) -> None:
    await world.somebody()
    token, recovery = await asked(world), world.get(RecoveryService)
    results = await asyncio.gather(
        *(recovery.reset(token, f"{ANOTHER} {number}", EVERYWHERE) for number in range(20)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, Invalid) for result in results) == 19


async def test_a_used_one_is_over_and_so_are_the_others(world: World) -> None:
    await world.somebody()
    first, second = await asked(world), await asked(world)
    await world.get(RecoveryService).reset(second, ANOTHER, EVERYWHERE)
    assert await refused(world, first) == await refused(world, second) == ["token.invalid"]


async def test_asking_again_ends_nobody_elses_token(world: World) -> None:
    await world.somebody()
    first = await asked(world)
    await asked(world)
    await world.get(RecoveryService).reset(first, ANOTHER, EVERYWHERE)


async def test_it_ends_after_half_an_hour(world: World) -> None:
    await world.somebody()
    token = await asked(world)
    world.clock.advance(timedelta(minutes=30))
    assert await refused(world, token) == ["token.invalid"]
    world.clock.advance(timedelta(seconds=1))
    assert await world.get(MailedTokens).forget_expired() == 1


async def test_it_ends_when_the_password_changes(world: World) -> None:
    user = await world.somebody()
    token = await asked(world)
    await world.get(AccountService).change_password(PASSWORD, ANOTHER, await world.caller(user), EVERYWHERE)
    assert await refused(world, token, "yet another one, quite long") == ["token.invalid"]
    await world.get(SignInService).by_password("ann@example.com", ANOTHER, EVERYWHERE)


async def test_a_weak_password_is_refused_and_uses_nothing_up(world: World) -> None:
    await world.somebody()
    token = await asked(world)
    assert await refused(world, token, "short") == ["password.too_short"]
    assert await refused(world, token, "Youngblood") == ["password.breached"]
    assert await refused(world, token, "ann@example.com") == ["password.personal"]
    await world.get(RecoveryService).reset(token, ANOTHER, EVERYWHERE)


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "é" * 43, "\ud800"])
async def test_what_was_never_sent_is_refused(world: World, token: str) -> None:
    await world.somebody()
    assert await refused(world, token) == ["token.invalid"]


async def test_a_disabled_account_gets_none_and_uses_none(world: World) -> None:
    user = await world.somebody()
    token = await asked(world)
    await world.get(AccountService).set_status(user, UserStatus.DISABLED, SYSTEM)
    world.letters.sent.clear()
    await world.get(RecoveryService).forgot("ann@example.com")
    assert await mails(world) == []
    assert await refused(world, token) == ["token.invalid"]


async def test_nobody_gets_no_mail(world: World) -> None:
    await world.somebody()
    world.letters.sent.clear()
    for email in ("nobody@example.com", "no address", "", "\ud800"):
        await world.get(RecoveryService).forgot(email)
    assert await mails(world) == []


async def test_what_waits_to_be_done_is_the_same_for_nobody_and_shows_no_address(world: World) -> None:
    """ASVS V6.3.8, V14.2.4: most of those addresses are nobody's, and no key of a person hides them."""
    await world.somebody()
    for email in ("ann@example.com", "nob@example.com"):
        with world.database.counting() as count:
            await world.get(RecoveryService).forgot(email)
        assert count.round_trips == 1
    rows = await world.owner.fetch(
        "SELECT task_name, args::text, length(args::text) AS long FROM procrastinate_jobs WHERE task_name LIKE 'identity.%'"
    )
    assert [row["task_name"] for row in rows] == ["identity.send_reset"] * 2
    assert rows[0]["long"] == rows[1]["long"]
    assert "ample.com" not in str(rows)


async def test_what_nobody_here_has_sealed_is_not_opened(world: World) -> None:
    asked = world.get(AskedAddresses)
    sealed = asked.seal("ann@example.com")
    assert asked.open(sealed) == "ann@example.com"
    for forged in (sealed[:-4] + "AAAA", sealed.replace("1.", "9.", 1), "1.AAAA"):
        with pytest.raises(Unreadable):
            asked.open(forged)


async def test_a_mailbox_is_not_flooded(world: World) -> None:
    await world.somebody()
    world.letters.sent.clear()
    for _ in range(30):
        await world.get(RecoveryService).forgot("Ann@example.com")
    assert len(await mails(world)) == 5
    world.clock.advance(timedelta(hours=1))
    await world.get(RecoveryService).forgot("ann@example.com")
    assert len(await mails(world)) == 6


async def test_no_more_tokens_wait_than_a_bound(world: World) -> None:
    user = await world.get(AccountService).read(await world.somebody(), SYSTEM)
    async with world.database.unit(SYSTEM) as unit:
        issued = [await world.get(MailedTokens).issue(unit, user, MailedPurpose.RESET_PASSWORD) for _ in range(MOST_WAITING + 3)]
    assert issued.count(None) == 3
    assert len(set(issued)) == MOST_WAITING + 1


async def test_only_hashes_are_kept(world: World) -> None:
    await world.somebody()
    token = await asked(world)
    row = await world.owner.fetchval("SELECT mailed_tokens::text FROM mailed_tokens WHERE purpose = 'reset_password'")
    assert token not in row
    assert token.encode().hex() not in row
    assert token not in str(await world.owner.fetch("SELECT * FROM events")) + str(await world.owner.fetch("SELECT * FROM audit_log"))


async def test_an_administrator_starts_it_and_sees_nothing(world: World) -> None:
    user, admin = await world.somebody(), await world.somebody("boss@example.com", "admin")
    world.letters.sent.clear()
    await world.get(RecoveryService).start_for(user, await world.caller(admin))
    (token,) = await tokens(world, about=ABOUT)
    await world.get(RecoveryService).reset(token, ANOTHER, EVERYWHERE)
    assert "users.password_reset_started" in await world.audited()
    with pytest.raises(NotFound):
        await world.get(RecoveryService).start_for(world.ids.new(), await world.caller(admin))


async def test_a_token_for_an_address_sets_no_password(world: World) -> None:
    await world.somebody()
    (verifying,) = await tokens(world, about="Welcome")
    assert await refused(world, verifying) == ["token.invalid"]
