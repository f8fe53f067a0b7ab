"""Whether an address is its account's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World
from tests.domains.identity.mailbox import mails, tokens

from fortress.bootstrap.runtime import mail_templates
from fortress.domains.identity.contract import EmailUnverified, InvalidCredentials
from fortress.domains.identity.service import AccountService, EmailVerification, SignInService
from fortress.domains.identity.service.accounts import SignUpWish
from fortress.errors import Invalid
from fortress.mail import Templates
from fortress.security import SYSTEM
from fortress.settings import Settings


async def is_verified(world: World, email: str = "ann@example.com") -> bool:
    (user,) = await world.get(AccountService).by_email(email, SYSTEM)
    return user.verified_at is not None


async def test_the_token_of_the_welcome_proves_the_address_once(world: World) -> None:
    await world.somebody()
    assert not await is_verified(world)
    (token,) = await tokens(world, about="Welcome")
    verification = world.get(EmailVerification)
    await verification.verify(token)
    assert await is_verified(world)
    with pytest.raises(Invalid):
        await verification.verify(token)
    assert (await world.audited()).count("users.email_verified") == 1
    names = [row["name"] for row in await world.owner.fetch("SELECT name FROM events")]
    assert names.count("EmailVerified") == 1


async def test_of_twenty_at_once_one_is_the_one(world: World) -> None:
    await world.somebody()
    (token,) = await tokens(world, about="Welcome")
    verification = world.get(EmailVerification)
    results = await asyncio.gather(*(verification.verify(token) for _ in range(20)), return_exceptions=True)
    assert results.count(None) == 1


async def test_it_can_be_sent_again_while_it_is_not_proved(world: World) -> None:
    await world.somebody()
    verification = world.get(EmailVerification)
    await verification.resend("ANN@example.com")
    await verification.resend("nobody@example.com")
    (token,) = await tokens(world, about="Is this your address?")
    await verification.verify(token)
    world.letters.sent.clear()
    await verification.resend("ann@example.com")
    assert await mails(world) == []


async def test_it_ends_after_a_day(world: World) -> None:
    await world.somebody()
    (token,) = await tokens(world, about="Welcome")
    world.clock.advance(timedelta(hours=24))
    with pytest.raises(Invalid):
        await world.get(EmailVerification).verify(token)


async def test_a_site_may_want_it_before_anybody_signs_in(world: World, tmp_path: Path) -> None:
    await world.somebody()
    world.container.add(Settings, Settings(state_dir=tmp_path, require_verified_email=True))
    signing_in = world.get(SignInService)
    with pytest.raises(InvalidCredentials):
        await signing_in.by_password("ann@example.com", "wrong", EVERYWHERE)
    with pytest.raises(EmailUnverified) as refused:
        await signing_in.by_password("ann@example.com", PASSWORD, EVERYWHERE)
    assert (refused.value.status, refused.value.code) == (403, "auth.email_unverified")
    (token,) = await tokens(world, about="Welcome")
    await world.get(EmailVerification).verify(token)
    await signing_in.by_password("ann@example.com", PASSWORD, EVERYWHERE)


async def test_the_first_administrator_needs_no_mail(world: World) -> None:
    await world.get(AccountService).ensure_administrator("admin@localhost", PASSWORD)
    assert await is_verified(world, "admin@localhost")


async def test_a_page_is_linked_with_the_token_behind_the_hash(world: World, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, account_url="https://shop.example/account")
    world.container.add(Templates, mail_templates(world.assembly, settings, None))
    await world.get(AccountService).sign_up(SignUpWish("ann@example.com", PASSWORD, None))
    (mail,) = await mails(world, about="Welcome")
    (token,) = await tokens(world, about="Welcome")
    assert f"https://shop.example/account#verify-email={token}\n" in mail.text
