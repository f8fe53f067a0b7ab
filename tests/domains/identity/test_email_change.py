"""Another address: the account, the old mailbox and the new one agree (ASVS V6.3.7, V7.5.1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World
from tests.domains.identity.mailbox import mails, tokens

from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.service import AccountService, EmailChangeService, EmailVerification, IdentityRecords
from fortress.errors import Invalid, NotFound
from fortress.security import SYSTEM, Principal
from fortress.security.proof import ReauthenticationRequired

OLD, NEW = "ann@example.com", "ann@new.example.com"
AT_OLD, AT_NEW, DONE = "Shall your address", "Is this your address?", "was changed"


async def ann(world: World) -> Principal:
    return await world.caller(await world.somebody(OLD))


async def asked(world: World, caller: Principal, new: str = NEW) -> tuple[str, str]:
    """The tokens at the old and the new address."""
    world.letters.sent.clear()
    await world.get(EmailChangeService).ask(new, PASSWORD, caller, EVERYWHERE)
    (old,), (other,) = await tokens(world, to=OLD, about=AT_OLD), await tokens(world, to=new, about=AT_NEW)
    return old, other


async def address_of(world: World, caller: Principal) -> str:
    return (await world.get(AccountService).read(caller.id, SYSTEM)).email


async def invalid(world: World, token: str) -> None:
    with pytest.raises(Invalid) as refused:
        await world.get(EmailChangeService).confirm(token)
    assert [error.code for error in refused.value.errors] == ["token.invalid"]


@pytest.mark.parametrize("turn", [1, -1])
async def test_with_both_mailboxes_agreed_it_is_done_and_both_hear_of_it(world: World, turn: int) -> None:
    caller = await ann(world)
    first, second = (await asked(world, caller))[::turn]
    changes = world.get(EmailChangeService)
    await changes.confirm(first)
    assert await address_of(world, caller) == OLD
    await invalid(world, first)
    await changes.confirm(second)
    assert await address_of(world, caller) == NEW
    assert {mail.to for mail in await mails(world, about=DONE)} == {OLD, NEW}
    assert (await world.get(AccountService).read(caller.id, SYSTEM)).verified_at == world.clock.now()
    await world.signed_in(NEW)
    await invalid(world, first)
    await invalid(world, second)
    assert {"users.email_change_asked", "users.email_change_agreed", "users.email_changed"} <= set(await world.audited())


async def test_both_at_once_do_it_once(world: World) -> None:
    caller = await ann(world)
    both = await asked(world, caller)
    results = await asyncio.gather(*(world.get(EmailChangeService).confirm(token) for token in both * 10), return_exceptions=True)
    assert results.count(None) == 2
    assert await address_of(world, caller) == NEW
    assert (await world.audited()).count("users.email_changed") == 1


async def test_of_many_asked_at_once_one_is_under_way(world: World) -> None:
    caller, changes = await ann(world), world.get(EmailChangeService)
    await asyncio.gather(*(changes.ask(f"ann{number}@example.com", PASSWORD, caller, EVERYWHERE) for number in range(5)))
    assert await world.owner.fetchval("SELECT count(*) FROM email_changes") == 1


@pytest.mark.parametrize("end", [0, 1])
async def test_either_mailbox_can_stop_it(world: World, end: int) -> None:
    caller = await ann(world)
    both = await asked(world, caller)
    changes = world.get(EmailChangeService)
    await changes.confirm(both[1])
    await changes.stop(both[end])
    await invalid(world, both[0])
    with pytest.raises(Invalid):
        await changes.stop(both[end])
    assert await address_of(world, caller) == OLD


async def test_a_wrong_password_changes_nothing(world: World) -> None:
    caller = await ann(world)
    world.letters.sent.clear()
    with pytest.raises(Invalid) as refused:
        await world.get(EmailChangeService).ask(NEW, "wrong", caller, EVERYWHERE)
    assert [error.field for error in refused.value.errors] == ["/password"]
    assert await mails(world) == []


async def test_without_a_password_the_session_is_fresh(world: World) -> None:
    caller, changes = msgspec.structs.replace(await ann(world), factors=1), world.get(EmailChangeService)
    now = world.clock.now().timestamp()
    with pytest.raises(ReauthenticationRequired):
        await changes.ask(NEW, None, msgspec.structs.replace(caller, proved_at=now - 301), EVERYWHERE)
    await changes.ask(NEW, None, msgspec.structs.replace(caller, proved_at=now - 299), EVERYWHERE)
    assert len(await tokens(world, to=NEW, about=AT_NEW)) == 1


async def test_an_address_in_use_gets_no_token_and_its_owner_a_mail(world: World) -> None:
    caller = await ann(world)
    await world.somebody("eve@example.com")
    world.letters.sent.clear()
    await world.get(EmailChangeService).ask("EVE@example.com", PASSWORD, caller, EVERYWHERE)
    assert [mail.subject for mail in await mails(world, to="eve@example.com")] == ["You have an account at Fortress"]
    assert len(await tokens(world, to=OLD, about=AT_OLD)) == 1


async def test_an_address_that_was_taken_in_between_stays_with_who_has_it(world: World) -> None:
    caller = await ann(world)
    old, new = await asked(world, caller)
    await world.get(EmailChangeService).confirm(old)
    await world.somebody(NEW)
    await invalid(world, new)
    assert await address_of(world, caller) == OLD


async def test_it_ends_after_a_day_and_with_the_next_one(world: World) -> None:
    caller = await ann(world)
    first = await asked(world, caller)
    second = await asked(world, caller, "other@new.example.com")
    await invalid(world, first[0])
    world.clock.advance(timedelta(hours=24))
    await invalid(world, second[0])


async def test_a_disabled_account_keeps_its_address(world: World) -> None:
    caller = await ann(world)
    old, _ = await asked(world, caller)
    await world.get(AccountService).set_status(caller.id, UserStatus.DISABLED, SYSTEM)
    await invalid(world, old)


async def test_the_old_addresss_own_token_is_worth_nothing_at_the_new_one(world: World) -> None:
    caller = await ann(world)
    (welcome,) = await tokens(world, to=OLD, about="Welcome")
    for token in await asked(world, caller):
        await world.get(EmailChangeService).confirm(token)
    with pytest.raises(Invalid):
        await world.get(EmailVerification).verify(welcome)


async def test_an_administrator_speaks_for_a_mailbox_that_is_lost(world: World) -> None:
    caller = await ann(world)
    admin = await world.caller(await world.somebody("boss@example.com", "admin"))
    changes = world.get(EmailChangeService)
    world.letters.sent.clear()
    await changes.ask_for(caller.id, NEW, admin)
    (new,) = await tokens(world, to=NEW, about=AT_NEW)
    (old,) = await tokens(world, to=OLD, about="is being changed")
    await invalid(world, old)
    await changes.confirm(new)
    assert await address_of(world, caller) == NEW
    with pytest.raises(NotFound):
        await changes.ask_for(world.ids.new(), NEW, admin)


async def test_the_old_mailbox_can_stop_an_administrator(world: World) -> None:
    caller = await ann(world)
    admin = await world.caller(await world.somebody("boss@example.com", "admin"))
    changes = world.get(EmailChangeService)
    world.letters.sent.clear()
    await changes.ask_for(caller.id, NEW, admin)
    (old,) = await tokens(world, to=OLD, about="is being changed")
    await changes.stop(old)
    assert await address_of(world, caller) == OLD


async def test_what_waits_is_exported_encrypted_and_erased(world: World) -> None:
    caller = await ann(world)
    await asked(world, caller)
    assert NEW not in str(await world.owner.fetchval("SELECT email_changes::text FROM email_changes"))
    await world.signed_in()
    records = world.get(IdentityRecords)
    exported = await records.export(caller.id)
    assert [change.new_email for change in exported["email_changes"]] == [NEW]
    assert len(exported["devices"]) == 1
    async with world.database.unit(SYSTEM) as unit:
        await records.erase(unit, caller.id)
    for table in ("email_changes", "mailed_tokens", "known_devices"):
        assert await world.owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table
