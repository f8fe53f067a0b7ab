"""What is personal is nowhere to be found outside ciphertext, and after an erasure nowhere at all (ASVS V14.2.2, V14.2.4; SEC002).

Markers are planted wherever a person may type something, everything that the API offers is done with them, and then every byte that
the server keeps is searched: the database's files and write-ahead log, its dump, the logs of both, the key ring, Redis.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from tests.faults.harness.serving import Server
from tests.faults.harness.sweeping import dumped, found_in_files, found_in_redis

from fortress.data.embedded import EmbeddedServer
from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from fortress.testing.servers import REDIS, REDIS_URL, answers

pytestmark = pytest.mark.faults

MARKERS: Final = ("quillfeather", "zebedee", "snufflepig-agent", "brouhaha-note")
EMAIL: Final = "Zebedee.Quillfeather@example.com"
AGENT: Final = {"user-agent": "snufflepig-agent/1.0"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a PostgreSQL of its own, whose files can be read."""
    options: dict[str, Any] = {"redis_url": REDIS_URL} if answers(*REDIS) else {}
    server = Server("", tmp_path_factory.mktemp("kept"), **options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def visitor(kept: Server, address: Callable[[], str]) -> AsyncIterator[LiveClient]:
    async with LiveClient(kept.port, address=address, kept=False) as opened:
        yield opened


@pytest.fixture
async def tables(kept: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The owner's connection."""
    with EmbeddedServer(kept.state_dir / "postgres") as shared:
        connection = await asyncpg.connect(shared.url(), timeout=10)
        yield connection
        await connection.close(timeout=10)


async def live_a_life(client: LiveClient) -> tuple[Caller, dict[str, Any]]:
    """Somebody signs up, signs in, mistypes, buys, looks around and asks for their data; every text of theirs is a marker."""
    wish = {"email": EMAIL, "password": PASSWORD, "age": 40, "name": "Zebedee Quillfeather"}
    for _ in range(2):
        assert (await client.post("/users", wish, headers=AGENT)).status == 201
    await client.post("/auth/login", {"email": EMAIL, "password": "quillfeather is not it"}, headers=AGENT)
    await client.post("/users", wish | {"email": "zebedee", "age": "brouhaha-note"}, headers=AGENT)
    await client.get("/orders/zebedee?quillfeather=brouhaha-note", headers=AGENT)
    pair = (await client.post("/auth/login", {"email": EMAIL, "password": PASSWORD}, headers=AGENT)).json()
    me = Caller("zebedee", headers={"authorization": f"Bearer {pair['access_token']}", **AGENT})
    order = await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}], "note": "brouhaha-note"}, as_=me)
    assert order.status == 201, order.body
    for path in ("/users/me", "/users/me/sessions", "/orders", "/users/me/export"):
        assert (await client.get(path, as_=me)).status == 200
    assert (await client.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}, headers=AGENT)).status == 200
    return me, order.json()


async def test_nothing_personal_is_kept_in_the_open_and_nothing_at_all_is_left_after_an_erasure(
    kept: Server, visitor: LiveClient, tables: asyncpg.Connection[asyncpg.Record]
) -> None:
    me, order = await live_a_life(visitor)
    assert (await visitor.get("/users/me", as_=me)).json()["email"].lower() == EMAIL.lower()
    await tables.execute("CHECKPOINT")
    # The outbox stands for the world that mail is sent to.
    assert found_in_files(kept.state_dir, MARKERS, but=["mail"]) == []
    data = Path(await tables.fetchval("SHOW data_directory"))
    assert found_in_files(data, ["tea-green"], but=[]), "the search finds what is there"
    assert found_in_files(data, MARKERS, but=[]) == []
    assert await dumped(tables, MARKERS) == []
    assert await found_in_redis(MARKERS) == []

    callers = Callers(visitor, ADMIN, ADMIN_PASSWORD)
    other = await callers.person("bystander")
    theirs = (await visitor.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}], "note": "mine"}, as_=other)).json()
    assert (await visitor.delete("/users/me", {"password": PASSWORD}, as_=me)).status == 204
    boss = await callers.administrator()
    for _ in range(4):
        read = (await visitor.get(f"/orders/{order['id']}", as_=boss)).json()
        assert (read["note"], read["total"]) == (None, order["total"])
    assert (await visitor.get(f"/orders/{theirs['id']}", as_=other)).json()["note"] == "mine"
    assert await tables.fetchval("SELECT count(*) FROM users WHERE id = $1", order["user_id"]) == 0
    assert await tables.fetchval("SELECT count(*) FROM data_keys WHERE subject = $1 AND wrapped IS NOT NULL", order["user_id"]) == 0
    assert kept.faults() == []


async def test_what_was_moved_or_changed_is_refused_and_alarmed(
    kept: Server, visitor: LiveClient, tables: asyncpg.Connection[asyncpg.Record]
) -> None:
    callers = Callers(visitor, ADMIN, ADMIN_PASSWORD)
    ann, ben = await callers.person("ann"), await callers.person("ben")
    await tables.execute("UPDATE users SET name = email WHERE id = $1", ann.id)
    await tables.execute("UPDATE users SET email = set_byte(email, 20, get_byte(email, 20) # 1) WHERE id = $1", ben.id)
    for person in (ann, ben):
        refused = await visitor.get("/users/me", as_=person)
        assert (refused.status, refused.code) == (500, "internal")
        assert b"@example.com" not in refused.body
        assert kept.wait_for_line(event="personal.unreadable", table="users", rows=[person.id])
