"""New devices: their owners hear of them, and nobody else learns where people sign in from (ASVS V6.3.5)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World
from tests.domains.identity.mailbox import mails

from fortress.domains.identity.contract import InvalidCredentials
from fortress.domains.identity.repository import MOST_DEVICES
from fortress.domains.identity.service import Devices, SessionStarter, SignInService
from fortress.domains.identity.service.starting import Device

ABOUT = "A new device"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


async def sign_in(world: World, address: str, agent: str | None = FIREFOX) -> None:
    await world.get(SignInService).by_password("ann@example.com", PASSWORD, Device(address, agent))


async def told(world: World) -> int:
    return len(await mails(world, to="ann@example.com", about=ABOUT))


async def test_the_first_is_no_news_and_every_other_one_is_once(world: World) -> None:
    await world.somebody()
    await sign_in(world, "192.0.2.7")
    assert await told(world) == 0
    await sign_in(world, "192.0.2.7")
    assert await told(world) == 0
    await sign_in(world, "192.0.2.8")
    assert await told(world) == 1
    await sign_in(world, "192.0.2.8")
    await sign_in(world, "192.0.2.7", "Opera/9.80")
    assert await told(world) == 2
    (mail, _) = await mails(world, about=ABOUT)
    assert "192.0.2.8" in mail.text
    assert "Firefox" not in mail.text, "what a device calls itself is for whoever has the password to choose"
    assert (await world.audited()).count("auth.new_device") == 2
    assert await world.owner.fetchval("SELECT count(*) FROM events WHERE name = 'NewDeviceSeen'") == 2


async def test_a_newer_version_is_the_same_browser_and_a_network_is_one_place(world: World) -> None:
    await world.somebody()
    await sign_in(world, "2001:db8:1:2::3")
    await sign_in(world, "2001:db8:1:2:ffff::4", FIREFOX.replace("128", "129"))
    assert await told(world) == 0


async def test_the_same_device_at_once_is_one(world: World) -> None:
    await world.somebody()
    await sign_in(world, "192.0.2.7")
    await asyncio.gather(*(sign_in(world, "192.0.2.8") for _ in range(8)))
    assert await told(world) == 1
    assert await world.owner.fetchval("SELECT count(*) FROM known_devices") == 2


async def test_the_table_tells_nobody_who_was_where(world: World) -> None:
    await world.somebody()
    await world.somebody("eve@example.com")
    await world.signed_in()
    await world.signed_in("eve@example.com")
    rows = await world.owner.fetch("SELECT known_devices::text AS row, place, digest FROM known_devices")
    assert len({row["place"] for row in rows} | {row["digest"] for row in rows}) == 4, "one household is not one digest"
    assert not any("192.0.2" in row["row"] or b"192.0.2".hex() in row["row"] for row in rows)


async def test_so_many_are_remembered_the_oldest_goes(world: World) -> None:
    await world.somebody()
    for number in range(MOST_DEVICES + 3):
        world.clock.advance(timedelta(minutes=10))
        await sign_in(world, f"198.51.100.{number}")
    assert await world.owner.fetchval("SELECT count(*) FROM known_devices") == MOST_DEVICES
    await world.posted()
    world.letters.sent.clear()
    await sign_in(world, "198.51.100.0")
    assert await told(world) == 1


async def test_what_was_not_seen_for_a_year_is_forgotten(world: World) -> None:
    await world.somebody()
    await world.signed_in()
    assert await world.get(Devices).forget_unseen() == 0
    world.clock.advance(timedelta(days=366))
    assert await world.get(Devices).forget_unseen() == 1


async def test_a_failed_sign_in_teaches_no_device(world: World) -> None:
    await world.somebody()

    async def known(email: str) -> bool:
        claimed = await world.get(SessionStarter).claimed(email)
        return world.get(Devices).recognise(claimed, EVERYWHERE).known_by is not None

    with pytest.raises(InvalidCredentials):
        await world.get(SignInService).by_password("ann@example.com", "wrong", EVERYWHERE)
    assert not await known("ann@example.com")
    await world.signed_in()
    assert await known("ann@example.com")
    assert not await known("nobody@example.com")
