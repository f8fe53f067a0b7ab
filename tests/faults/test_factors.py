"""Second factors between real processes: what is good once is good once, and guessing gets nobody far (ASVS V6.3.1, V6.5.1, V6.6.3)."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pyotp
import pytest
from tests.domains.identity.software_authenticator import SoftwareAuthenticator
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller, Reply
from fortress.testing.live import LiveClient

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

pytestmark = pytest.mark.faults

AT_ONCE: Final = 20
STEP: Final = 30
MOST_MISSES: Final = 10


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    """Four workers."""
    return serve(workers=4)


class Guarded:
    """Somebody with an authenticator app, recovery codes and a passkey."""

    def __init__(self, client: LiveClient, caller: Caller, port: int) -> None:
        self._client = client
        self._caller = caller
        self.email = caller.email
        self.key = SoftwareAuthenticator(origin=f"http://localhost:{port}")
        self.recovery: list[str] = []
        self._secret = ""
        self._last = 0

    async def enrol(self) -> None:
        """The app, and then the passkey, in a session that has proved the app's recovery code."""
        self._secret = (await self._client.post("/users/me/mfa", as_=self._caller)).json()["secret"]
        confirmed = await self._client.post("/users/me/mfa/confirm", {"code": self.code()}, as_=self._caller)
        self.recovery = confirmed.json()["recovery_codes"]
        raised = await self._client.post("/auth/reauthenticate", {"code": self.recovery.pop()}, as_=self._caller)
        assert raised.status == 200, raised.body
        caller = Caller("guarded", headers={"authorization": f"Bearer {raised.json()['access_token']}"})
        asked = (await self._client.post("/users/me/passkeys/options", as_=caller)).json()["options"]
        made = await self._client.post("/users/me/passkeys", {"name": "key", "credential": self.key.make(asked)}, as_=caller)
        assert made.status == 201, made.body

    def code(self) -> str:
        """A code that is right now, of a later step than any before; there are three of them at any moment."""
        now = int(time.time()) // STEP
        self._last = max(self._last + 1, now - 1)
        assert self._last <= now + 1, "too many codes in too short a time"
        return pyotp.TOTP(self._secret).generate_otp(self._last)

    def wrong(self) -> str:
        """Six digits that are no code of these minutes."""
        now = int(time.time()) // STEP
        near = {pyotp.TOTP(self._secret).generate_otp(step) for step in range(now - 5, now + 6)}
        return next(text for text in (f"{number:06}" for number in range(12)) if text not in near)

    async def token(self) -> str:
        """The token of a new second step."""
        asked = await self._client.post("/auth/login", {"email": self.email, "password": PASSWORD})
        assert (asked.status, asked.code) == (403, "auth.mfa_required"), asked.body
        return str(asked.json()["mfa_token"])


@pytest.fixture
async def guarded(client: LiveClient, callers: Callers, server: Server) -> Guarded:
    person = Guarded(client, await callers.person(f"guarded-{os.urandom(4).hex()}"), server.port)
    await person.enrol()
    return person


async def at_once(server: Server, address: Callable[[], str], path: str, bodies: list[dict[str, Any]]) -> list[Reply]:
    """These bodies sent at the same time, spread over all workers."""
    async with each_worker(server, address) as workers:
        clients = list(workers.values())
        assert len(clients) == 4
        return await asyncio.gather(*(clients[number % 4].post(path, body) for number, body in enumerate(bodies)))


def assert_one(replies: list[Reply], code: str) -> None:
    """Exactly one has begun a session; the others learn nothing."""
    refused = [reply for reply in replies if reply.status != 200]
    assert len(refused) == len(replies) - 1, Counter(reply.status for reply in replies)
    assert {(reply.status, reply.code) for reply in refused} == {(401, code)}


@pytest.mark.parametrize("kind", ["totp", "recovery"])
async def test_one_code_at_many_second_steps_at_once_begins_one_session(
    guarded: Guarded, server: Server, address: Callable[[], str], owner: Connection, kind: str
) -> None:
    tokens = [await guarded.token() for _ in range(8 if kind == "totp" else AT_ONCE)]
    sessions = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND factors = 2"
    before = await owner.fetchval(sessions)
    code = guarded.code() if kind == "totp" else guarded.recovery[0]
    replies = await at_once(server, address, "/auth/mfa", [{"mfa_token": token, "code": code} for token in tokens])
    assert_one(replies, "auth.second_step_failed")
    assert await owner.fetchval(sessions) == before + 1


async def test_one_code_twenty_times_at_one_second_step_begins_one_session(
    guarded: Guarded, server: Server, address: Callable[[], str]
) -> None:
    body = {"mfa_token": await guarded.token(), "code": guarded.code()}
    assert_one(await at_once(server, address, "/auth/mfa", [body] * AT_ONCE), "auth.second_step_failed")


async def test_twenty_good_codes_at_one_second_step_begin_one_session(guarded: Guarded, server: Server, address: Callable[[], str]) -> None:
    token = await guarded.token()
    bodies = [{"mfa_token": token, "code": code} for code in guarded.recovery]
    replies = await at_once(server, address, "/auth/mfa", bodies)
    assert_one(replies, "auth.second_step_failed")


async def test_one_passkey_s_answer_twenty_times_begins_one_session(
    guarded: Guarded, server: Server, address: Callable[[], str], client: LiveClient
) -> None:
    asked = (await client.post("/auth/passkey/options")).json()
    body = {"challenge_token": asked["challenge_token"], "credential": guarded.key.answer(asked["options"])}
    assert_one(await at_once(server, address, "/auth/passkey", [body] * AT_ONCE), "auth.invalid_passkey")


async def test_one_passkey_s_answer_twenty_times_at_a_second_step_begins_one_session(
    guarded: Guarded, server: Server, address: Callable[[], str], client: LiveClient
) -> None:
    token = await guarded.token()
    asked = (await client.post("/auth/mfa/passkey/options", {"mfa_token": token})).json()
    body = {"mfa_token": token, "challenge_token": asked["challenge_token"], "credential": guarded.key.answer(asked["options"])}
    assert_one(await at_once(server, address, "/auth/mfa/passkey", [body] * AT_ONCE), "auth.second_step_failed")


async def test_many_answers_of_one_count_begin_one_session(
    guarded: Guarded, server: Server, address: Callable[[], str], client: LiveClient
) -> None:
    """Two devices with one key, each with a question of its own."""
    guarded.key.count, guarded.key.step = 7, 0
    asked = [(await client.post("/auth/passkey/options")).json() for _ in range(8)]
    bodies = [{"challenge_token": one["challenge_token"], "credential": guarded.key.answer(one["options"])} for one in asked]
    assert_one(await at_once(server, address, "/auth/passkey", bodies), "auth.invalid_passkey")


async def test_guessing_at_once_gets_ten_tries_and_the_owner_still_in(
    guarded: Guarded, server: Server, address: Callable[[], str], client: LiveClient
) -> None:
    """Over all second steps and all workers: the bound holds, and not a guess more."""
    tokens = [await guarded.token() for _ in range(AT_ONCE)]
    wrong = guarded.wrong()
    bodies = [{"mfa_token": token, "code": wrong} for token in tokens for _ in range(4)]
    replies = await at_once(server, address, "/auth/mfa", bodies)
    assert Counter(reply.status for reply in replies) == {401: MOST_MISSES, 429: len(bodies) - MOST_MISSES}
    assert (await client.post("/auth/mfa", {"mfa_token": tokens[0], "code": guarded.code()})).status == 429
    assert (await client.post("/auth/mfa", {"mfa_token": await guarded.token(), "code": guarded.recovery[0]})).status == 200
    asked = (await client.post("/auth/passkey/options")).json()
    body = {"challenge_token": asked["challenge_token"], "credential": guarded.key.answer(asked["options"])}
    assert (await client.post("/auth/passkey", body)).status == 200


async def test_one_second_step_takes_five_answers_however_many_come_at_once(
    guarded: Guarded, server: Server, address: Callable[[], str], client: LiveClient
) -> None:
    token = await guarded.token()
    bodies = [{"mfa_token": token, "code": f"never-a-recovery-code-{number}"} for number in range(AT_ONCE)]
    assert {reply.status for reply in await at_once(server, address, "/auth/mfa", bodies)} == {401}
    assert (await client.post("/auth/mfa", {"mfa_token": token, "code": guarded.recovery[0]})).status == 401
    assert (await client.post("/auth/mfa", {"mfa_token": await guarded.token(), "code": guarded.recovery[0]})).status == 200


async def test_nothing_of_it_was_logged(server: Server, guarded: Guarded, client: LiveClient) -> None:
    token, code = await guarded.token(), guarded.recovery[0]
    done = await client.post("/auth/mfa", {"mfa_token": token, "code": code})
    said = server.said()
    for secret in (token, code, *guarded.recovery, done.json()["access_token"], done.json()["refresh_token"]):
        assert secret not in said
    assert server.faults() == []
