"""Refresh tokens between real processes: one successor whoever asks how often, thieves found out, answers lost (ASVS V10.4.5)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.security.encoding import from_base64url
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Reply
from fortress.testing.live import LiveClient

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

pytestmark = pytest.mark.faults

AT_ONCE: Final = 40
SESSION: Final = slice(5, 21)
# Where a commit waits for as long as somebody needs to be killed meanwhile: PostgreSQL goes on when its client is gone.
SLOW_COMMIT: Final = """
CREATE FUNCTION wait_a_little() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait_a_little AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.generation > OLD.generation) EXECUTE FUNCTION wait_a_little()
"""
QUICK_COMMIT: Final = "DROP TRIGGER wait_a_little ON sessions; DROP FUNCTION wait_a_little"
HERE: Final = "FROM pg_stat_activity WHERE datname = current_database() AND"
IN_COMMIT: Final = f"SELECT count(*) {HERE} query = 'COMMIT' AND wait_event = 'PgSleep'"
WAITING: Final = f"SELECT count(*) {HERE} wait_event_type = 'Lock'"
END_WAITING: Final = f"SELECT pg_terminate_backend(pid) {HERE} wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    """Two workers; the grace is long enough for a worker to be replaced in it."""
    return serve(refresh_grace=60)


class Family:
    """One sign-in: its tokens as its owner has them, and its row."""

    def __init__(self, client: LiveClient, owner: Connection, pair: dict[str, Any]) -> None:
        self._client = client
        self._owner = owner
        self.pairs = [pair]
        self.id = from_base64url(pair["refresh_token"].removeprefix("fr_"))[SESSION].hex()

    async def present(self, token: str) -> Reply:
        return await self._client.post("/auth/refresh", {"refresh_token": token})

    async def go_on(self) -> dict[str, Any]:
        """Refresh as the owner does."""
        reply = await self.present(self.pairs[-1]["refresh_token"])
        assert reply.status == 200, reply.body
        self.pairs.append(reply.json())
        return self.pairs[-1]

    async def works(self, pair: dict[str, Any]) -> bool:
        """Whether a pair's access token is good."""
        reply = await self._client.get("/users/me", headers={"authorization": f"Bearer {pair['access_token']}"})
        assert reply.status in (200, 401)
        return reply.status == 200

    async def row(self) -> Any:
        return await self._owner.fetchrow("SELECT generation, revoked_at, ended_by FROM sessions WHERE id = $1", self.id)

    async def end_of_grace(self) -> None:
        await self._owner.execute("UPDATE sessions SET rotated_at = rotated_at - interval '61 seconds' WHERE id = $1", self.id)

    async def detections(self) -> int:
        sql = "SELECT count(*) FROM audit_log WHERE action = 'session.reuse_detected' AND target = $1::text"
        return int(await self._owner.fetchval(sql, str(await self._owner.fetchval("SELECT $1::text::uuid::text", self.id))))


@pytest.fixture
async def family(client: LiveClient, callers: Callers, owner: Connection) -> Family:
    person = await callers.person(f"owner-{os.urandom(4).hex()}")
    return Family(client, owner, await callers.tokens(person.email, PASSWORD))


async def assert_dead(family: Family) -> None:
    """Every token that ever belonged to the family is refused, on every connection, and the log says why."""
    for pair in family.pairs:
        assert not any([await family.works(pair) for _ in range(4)])
        assert (await family.present(pair["refresh_token"])).code == "auth.invalid_refresh_token"
    row = await family.row()
    assert (row["revoked_at"] is not None, row["ended_by"]) == (True, "reuse")
    assert await family.detections() == 1


async def test_a_thief_with_a_token_long_used_ends_the_whole_family(family: Family) -> None:
    await family.go_on()
    await family.go_on()
    assert await family.works(family.pairs[-1])
    stolen = await family.present(family.pairs[0]["refresh_token"])
    assert (stolen.status, stolen.code) == (401, "auth.invalid_refresh_token")
    await assert_dead(family)


async def test_a_thief_with_the_token_just_used_ends_the_whole_family_after_the_grace(family: Family) -> None:
    await family.go_on()
    await family.end_of_grace()
    assert (await family.present(family.pairs[0]["refresh_token"])).status == 401
    await assert_dead(family)


async def test_an_owner_who_comes_after_the_thief_ends_what_the_thief_has(family: Family) -> None:
    thief = (await family.present(family.pairs[0]["refresh_token"])).json()
    await family.end_of_grace()
    family.pairs.append(thief)
    assert (await family.present(family.pairs[0]["refresh_token"])).status == 401
    await assert_dead(family)


async def test_another_family_of_the_same_person_lives_on(family: Family, callers: Callers, client: LiveClient, owner: Connection) -> None:
    me = await client.get("/users/me", headers={"authorization": f"Bearer {family.pairs[0]['access_token']}"})
    other = Family(client, owner, await callers.tokens(me.json()["email"], PASSWORD))
    await family.go_on()
    await family.end_of_grace()
    await family.present(family.pairs[0]["refresh_token"])
    await assert_dead(family)
    assert await other.works(other.pairs[0])
    await other.go_on()


async def test_many_at_once_with_one_token_all_get_the_one_successor(family: Family, server: Server, address: Callable[[], str]) -> None:
    token = {"refresh_token": family.pairs[0]["refresh_token"]}
    async with each_worker(server, address) as workers:
        clients = list(workers.values())
        calls: list[Awaitable[Reply]] = [clients[number % len(clients)].post("/auth/refresh", token) for number in range(AT_ONCE)]
        replies = await asyncio.gather(*calls)
    assert {reply.status for reply in replies} == {200}
    successors = {reply.json()["refresh_token"] for reply in replies}
    assert len(successors) == 1
    assert tuple(await family.row()) == (1, None, None)
    for reply in replies:
        assert await family.works(reply.json())
    family.pairs.append(replies[0].json())
    await family.go_on()
    assert tuple(await family.row()) == (2, None, None)
    assert await family.detections() == 0


async def test_many_thieves_at_once_end_the_family_once(family: Family, server: Server, address: Callable[[], str]) -> None:
    await family.go_on()
    await family.go_on()
    token = {"refresh_token": family.pairs[0]["refresh_token"]}
    async with each_worker(server, address) as workers:
        clients = list(workers.values())
        replies = await asyncio.gather(*(clients[number % len(clients)].post("/auth/refresh", token) for number in range(AT_ONCE)))
    assert {reply.status for reply in replies} == {401}
    await assert_dead(family)


async def until(owner: Connection, sql: str, *, count: int) -> None:
    """Wait until a query counts so many; PostgreSQL tells nobody."""
    for _ in range(1000):
        if await owner.fetchval(sql) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never {count}: {sql}")


async def test_workers_killed_before_and_after_the_commit_of_a_rotation_leave_one_branch_and_a_client_who_can_go_on(
    family: Family, server: Server, owner: Connection, client: LiveClient, callers: Callers
) -> None:
    """One rotation is in its commit when all workers die, so that it holds and nobody heard; another waits for its row."""
    person = await callers.person()
    unrotated = Family(client, owner, await callers.tokens(person.email, PASSWORD))
    token = family.pairs[0]["refresh_token"]
    locker = await asyncpg.connect(server.database_url, timeout=10)
    await owner.execute(SLOW_COMMIT)
    try:
        await locker.execute("BEGIN")
        await locker.execute("SELECT FROM sessions WHERE id = $1 FOR UPDATE", unrotated.id)
        lost = [asyncio.create_task(unrotated.present(unrotated.pairs[0]["refresh_token"]))]
        await until(owner, WAITING, count=1)
        lost.append(asyncio.create_task(family.present(token)))
        await until(owner, IN_COMMIT, count=1)
        for pid in server.workers:
            os.kill(pid, signal.SIGKILL)
        assert {type(one) for one in await asyncio.gather(*lost, return_exceptions=True)} <= {ConnectionError, ConnectionResetError}
        await owner.execute(END_WAITING)
    finally:
        await locker.close()
        await until(owner, IN_COMMIT, count=0)
        await owner.execute(QUICK_COMMIT)
    assert tuple(await family.row()) == (1, None, None), "the commit held although the worker had died"
    assert tuple(await unrotated.row()) == (0, None, None)
    server.wait_ready()
    again = await family.present(token)
    assert again.status == 200, again.body
    family.pairs.append(again.json())
    assert (await family.present(token)).json()["refresh_token"] == again.json()["refresh_token"]
    assert tuple(await family.row()) == (1, None, None)
    for one in (family, unrotated):
        await one.go_on()
        assert await one.works(one.pairs[-1])
    await family.end_of_grace()
    assert (await family.present(token)).status == 401
    await assert_dead(family)
