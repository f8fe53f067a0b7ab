"""Tokens that travel by mail: used once on all workers together, and nowhere to be found but in the mail (ASVS V6.4.1, V6.5.1, V16.2.5)."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest
from tests.faults.conftest import Connection
from tests.faults.harness.serving import Server
from tests.faults.test_stuffing import mailed

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = [pytest.mark.faults, pytest.mark.timeout(100)]

ANOTHER: Final = "a drawbridge, drawn up"
AT_ONCE: Final = 20
TABLES: Final = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"


@pytest.fixture
async def somebody(callers: Callers) -> Caller:
    return await callers.person(f"person-{os.urandom(4).hex()}")


async def forgotten(server: Server, client: LiveClient, email: str) -> str:
    assert (await client.post("/auth/password/forgot", {"email": email})).status == 202
    return await mailed(server, email, "Another password")


async def test_of_twenty_resets_at_once_on_two_workers_one_is_done(
    server: Server, client: LiveClient, somebody: Caller, address: Callable[[], str]
) -> None:
    token = await forgotten(server, client, somebody.email)

    async def reset(number: int) -> int:
        async with LiveClient(server.port, address=address()) as own:
            return (await own.post("/auth/password/reset", {"token": token, "new_password": f"{ANOTHER} {number}"})).status

    found = Counter(await asyncio.gather(*(reset(number) for number in range(AT_ONCE))))
    assert found == {204: 1, 422: AT_ONCE - 1}
    entered = [
        (await client.post("/auth/login", {"email": somebody.email, "password": f"{ANOTHER} {number}"})).status for number in range(AT_ONCE)
    ]
    assert Counter(entered) == {200: 1, 401: AT_ONCE - 1}


async def test_of_twenty_proofs_at_once_one_is_done(
    server: Server, client: LiveClient, somebody: Caller, address: Callable[[], str]
) -> None:
    token = await mailed(server, somebody.email, "Welcome")

    async def verify() -> int:
        async with LiveClient(server.port, address=address()) as own:
            return (await own.post("/auth/email/verify", {"token": token})).status

    assert Counter(await asyncio.gather(*(verify() for _ in range(AT_ONCE)))) == {204: 1, 422: AT_ONCE - 1}
    assert (await client.get("/users/me", as_=somebody)).json()["email_verified"] is True


async def test_a_changed_password_ends_what_was_mailed_before(server: Server, client: LiveClient, somebody: Caller) -> None:
    token = await forgotten(server, client, somebody.email)
    change = {"current_password": PASSWORD, "new_password": ANOTHER}
    assert (await client.post("/users/me/password", change, as_=somebody)).status == 204
    refused = await client.post("/auth/password/reset", {"token": token, "new_password": "a third one, quite long"})
    assert (refused.status, refused.json()["errors"][0]["code"]) == (422, "token.invalid")


async def test_no_token_is_anywhere_but_in_the_mail(server: Server, client: LiveClient, somebody: Caller, owner: Connection) -> None:
    """Used, refused and waiting ones; in logs, answers and every table, as text and as bytes."""
    answers = []
    reset = await forgotten(server, client, somebody.email)
    verify = await mailed(server, somebody.email, "Welcome")
    new_email = f"new-{somebody.email}"
    answers.append(await client.post("/users/me/email", {"new_email": new_email, "password": PASSWORD}, as_=somebody))
    change = await mailed(server, new_email, "Is this your address")
    for path, body in [
        ("/auth/email/verify", {"token": verify}),
        ("/auth/email/verify", {"token": verify}),
        ("/auth/password/reset", {"token": reset, "new_password": "short"}),
        ("/auth/password/reset", {"token": reset, "new_password": ANOTHER}),
        ("/auth/password/reset", {"token": reset, "new_password": ANOTHER}),
        ("/auth/email/confirm", {"token": change}),
        ("/auth/email/confirm", {"token": change}),
        ("/auth/email/stop", {"token": change + "x"}),
    ]:
        answers.append(await client.post(path, body))
    waiting = await forgotten(server, client, somebody.email)
    assert [answer.status for answer in answers] == [202, 204, 422, 422, 204, 422, 204, 422, 422]
    tokens = {reset, verify, change, waiting, await mailed(server, somebody.email, "Shall your address")}
    tables = [row["table_name"] for row in await owner.fetch(TABLES)]
    rows = "".join([str(await owner.fetchval(f'SELECT string_agg(t::text, chr(10)) FROM "{table}" t')) for table in tables])
    said, told = server.said(), "".join(answer.body.decode() for answer in answers)
    for token in tokens:
        assert token not in said, "logs"
        assert token not in told, "answers"
        assert token not in rows, "tables"
        assert token.encode().hex() not in rows, "tables, as bytes"
    assert not server.faults()


async def test_what_was_asked_for_before_a_kill_is_sent_after_it(serve: Callable[..., Server], address: Callable[[], str]) -> None:
    server = await asyncio.to_thread(lambda: serve(workers=1))
    async with LiveClient(server.port, address=address) as client:
        email = (await Callers(client, ADMIN, ADMIN_PASSWORD).person("ann")).email
        assert (await client.post("/auth/password/forgot", {"email": email})).status == 202
    await asyncio.to_thread(server.kill9)
    await asyncio.to_thread(server.start)
    assert await mailed(server, email, "Another password")
