"""Guessing passwords: it is bounded, and keeps no owner out (ASVS V6.1.1, V6.3.1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.domains.conftest import EVERYWHERE, PASSWORD, World
from tests.domains.identity.mailbox import tokens

from fortress.domains.identity.contract import InvalidCredentials
from fortress.domains.identity.service import RecoveryService, SignInService
from fortress.domains.identity.service.starting import Device
from fortress.errors import TooManyRequests, Unavailable
from fortress.testing.callers import PASSWORD as CALLERS_PASSWORD
from fortress.testing.callers import Callers
from fortress.testing.client import Client

GUESSES = 10
ELSEWHERE = Device("198.51.100.9", "another test")
ANOTHER = "a drawbridge, drawn up"


async def guess(world: World, email: str = "ann@example.com", device: Device = ELSEWHERE, password: str = "wrong") -> str:
    """What a guess comes to."""
    try:
        await world.get(SignInService).by_password(email, password, device)
    except (InvalidCredentials, TooManyRequests) as refusal:
        return type(refusal).__name__
    return "in"


def from_everywhere(number: int) -> Device:
    return Device(f"203.0.{number // 250}.{number % 250}", "a botnet")


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
async def test_one_account_from_everywhere_is_guessed_at_a_few_times(world: World, email: str) -> None:
    await world.somebody()
    said = [await guess(world, email, from_everywhere(number)) for number in range(60)]
    assert said == ["InvalidCredentials"] * GUESSES + ["TooManyRequests"] * 50


async def test_what_is_refused_costs_no_hash_and_says_when_to_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.somebody()
    for number in range(GUESSES):
        await guess(world, device=from_everywhere(number))
    monkeypatch.setattr(world.hasher, "verify", None)
    with pytest.raises(TooManyRequests) as refused:
        await world.get(SignInService).by_password("ANN@example.com", PASSWORD, ELSEWHERE)
    assert 1 <= int(refused.value.headers["retry-after"]) <= 220
    world.clock.advance(timedelta(minutes=3, seconds=1))
    monkeypatch.undo()
    assert [await guess(world), await guess(world)] == ["InvalidCredentials", "TooManyRequests"]


async def test_as_many_at_once_are_as_many(world: World) -> None:
    await world.somebody()
    said = await asyncio.gather(*(guess(world, device=from_everywhere(number)) for number in range(60)))
    assert said.count("InvalidCredentials") == GUESSES


async def test_the_owner_signs_in_from_where_they_did_before(world: World) -> None:
    await world.somebody()
    await world.signed_in()
    for number in range(60):
        await guess(world, device=from_everywhere(number))
    assert await guess(world, device=EVERYWHERE, password=PASSWORD) == "in"
    assert await guess(world, device=Device(EVERYWHERE.address, "their other browser"), password=PASSWORD) == "in", "the network is known"
    newer = Device(EVERYWHERE.address, "a test")
    assert await guess(world, device=newer, password=PASSWORD) == "in"
    assert await guess(world, device=ELSEWHERE, password=PASSWORD) == "TooManyRequests"


async def test_a_known_device_has_bounds_of_its_own(world: World) -> None:
    await world.somebody()
    await world.signed_in()
    said = [await guess(world, device=EVERYWHERE) for _ in range(GUESSES + 5)]
    assert said == ["InvalidCredentials"] * GUESSES + ["TooManyRequests"] * 5
    assert await guess(world) == "InvalidCredentials", "what it used up is its own"


async def test_whoever_is_kept_out_on_a_new_device_gets_in_by_a_new_password(world: World) -> None:
    await world.somebody()
    for number in range(60):
        await guess(world, device=from_everywhere(number))
    assert await guess(world, device=ELSEWHERE, password=PASSWORD) == "TooManyRequests"
    recovery = world.get(RecoveryService)
    await recovery.forgot("ann@example.com")
    (token,) = await tokens(world, about="Another password")
    await recovery.reset(token, ANOTHER, ELSEWHERE)
    assert await guess(world, device=ELSEWHERE, password=ANOTHER) == "in"
    assert await guess(world, device=from_everywhere(1)) == "TooManyRequests"


async def test_one_source_against_many_accounts_has_a_bound_and_uses_up_nobody_elses(world: World) -> None:
    said = [await guess(world, f"person{number}@example.com") for number in range(130)]
    assert said == ["InvalidCredentials"] * 100 + ["TooManyRequests"] * 30
    assert await guess(world, "person129@example.com", from_everywhere(1)) == "InvalidCredentials"
    left = [await guess(world, "person129@example.com", from_everywhere(number)) for number in range(2, 12)]
    assert left.count("InvalidCredentials") == GUESSES - 1, "what the source had refused was not charged to the account"


async def test_a_source_in_ipv6_is_its_network(world: World) -> None:
    said = [await guess(world, f"person{number}@example.com", Device(f"2001:db8::{number:x}", None)) for number in range(101)]
    assert said[-1] == "TooManyRequests"


async def test_right_passwords_count_nowhere(world: World) -> None:
    for number in range(8):
        await world.somebody(f"person{number}@example.com")
    for _ in range(3):
        for number in range(8):
            assert await guess(world, f"person{number}@example.com", ELSEWHERE, PASSWORD) == "in"
    for number in range(GUESSES * 2):
        assert await guess(world, "person1@example.com", from_everywhere(number), PASSWORD) == "in"


async def test_what_was_never_looked_at_counts_nowhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.somebody()

    async def busy(_stored: str | None, _password: str) -> None:
        raise Unavailable

    monkeypatch.setattr(world.hasher, "verify", busy)
    for _ in range(GUESSES * 2):
        with pytest.raises(Unavailable):
            await world.get(SignInService).by_password("ann@example.com", "wrong", ELSEWHERE)
    monkeypatch.undo()
    assert await guess(world) == "InvalidCredentials"


def own_routes(password: str) -> list[tuple[str, str, dict[str, str]]]:
    """Where somebody who is signed in says their password once more."""
    return [
        ("POST", "/auth/reauthenticate", {"password": password}),
        ("POST", "/users/me/password", {"current_password": password, "new_password": ANOTHER}),
        ("POST", "/users/me/email", {"new_email": "ann2@example.com", "password": password}),
        ("DELETE", "/users/me", {"password": password}),
    ]


async def test_a_stolen_session_is_no_way_around_it(client: Client, callers: Callers) -> None:
    ann = await callers.person("ann")
    wrong = [await client.call(method, path, json=body, as_=ann) for _ in range(2) for method, path, body in own_routes("wrong")]
    assert [(reply.status, reply.json()["errors"][0]["code"]) for reply in wrong] == [(422, "password.wrong")] * 8
    for _ in range(GUESSES - len(wrong)):
        assert (await client.post("/auth/login", {"email": ann.email, "password": "wrong"})).status == 401
    right = [await client.call(method, path, json=body, as_=ann) for method, path, body in own_routes(CALLERS_PASSWORD)]
    right.append(await client.post("/auth/login", {"email": ann.email, "password": CALLERS_PASSWORD}))
    assert [(reply.status, reply.code) for reply in right] == [(429, "limit.exceeded")] * 5
    assert all(int(reply.headers["retry-after"]) > 60 for reply in right)


async def test_what_is_right_counts_nowhere_for_who_is_signed_in(client: Client, callers: Callers) -> None:
    ann = await callers.person("ann")
    for _ in range(GUESSES + 2):
        body = {"new_email": "ann2@example.com", "password": CALLERS_PASSWORD}
        assert (await client.post("/users/me/email", body, as_=ann)).status == 202
