"""The keys that guard people's data change under load: no request fails, all is readable after, a kill does no harm (ASVS V11.2.2)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from tests.faults.harness.projects import GENEROUS, write_generous
from tests.faults.harness.serving import Server
from tests.faults.harness.workers import each_worker

from fortress.testing.callers import PASSWORD, Callers
from fortress.testing.client import Caller
from fortress.testing.live import LiveClient

# Each rotation waits 5 to 10 s for the servers to know, which is what is tested, and is several commands one after another.
pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PEOPLE: Final = 6
# Between two rounds of a customer, and two sign-ins: the load is there all the time, and leaves the machine to what is tested.
PAUSE: Final = 0.1
SIGN_IN_PAUSE: Final = 0.5
ROTATION_SECONDS: Final = 120
SKU: Final = "TEA-GREEN"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Two workers, whose requests may take so long that old keys are waited for a few seconds only.

    Connections may be idle for longer than any pause of the load, which keeps them to stay with its worker.
    """
    directory = write_generous(tmp_path_factory.mktemp("project"))
    return serve(target=GENEROUS, directory=directory, limit_store="memory", request_timeout=3, header_timeout=60)


class Customers:
    """People who place orders with a note on one worker, and read all of theirs on every worker; others sign in.

    Attributes:
        seen: how requests were answered, by kind and status.
        wrong: notes that were not what somebody had written.
    """

    def __init__(self, workers: list[LiveClient]) -> None:
        self._workers = workers
        self.seen: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self.notes: dict[str, str] = {}
        self.over = False

    async def order(self, person: Caller, worker: LiveClient) -> None:
        note = f"for {person.id} {os.urandom(4).hex()}"
        placed = await worker.post("/orders", {"items": [{"sku": SKU, "quantity": 1}], "note": note}, as_=person)
        self.seen["write", placed.status] += 1
        if placed.status == 201:
            self.notes[placed.json()["id"]] = note

    async def read(self, person: Caller, worker: LiveClient) -> None:
        found = await worker.get("/orders", as_=person)
        self.seen["read", found.status] += 1
        if found.status == 200:
            self.wrong += [order["id"] for order in found.json()["items"] if order["note"] != self.notes.get(order["id"], order["note"])]

    async def sign_in(self, person: Caller, worker: LiveClient) -> None:
        """Found by the blind index of the address."""
        signed = await worker.post("/auth/login", {"email": person.email.upper(), "password": PASSWORD})
        self.seen["sign in", signed.status] += 1

    async def live(self, number: int, person: Caller) -> None:
        """Every other person signs in again and again, which ends their older sessions; the rest are customers."""
        home = self._workers[number // 2 % len(self._workers)]
        while not self.over:
            await asyncio.sleep(SIGN_IN_PAUSE if number % 2 else PAUSE)
            if number % 2:
                await self.sign_in(person, home)
                continue
            await self.order(person, home)
            for worker in self._workers:
                await self.read(person, worker)

    @asynccontextmanager
    async def shopping(self, people: list[Caller]) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.live(number, person)) for number, person in enumerate(people)]
        try:
            yield
        finally:
            self.over = True
            await asyncio.gather(*tasks)

    def all_was_well(self) -> None:
        assert set(self.seen) == {("write", 201), ("read", 200), ("sign in", 200)}, self.seen
        assert self.wrong == []
        assert self.seen["write", 201] > 20


@pytest.fixture
async def people(server: Server, callers: Callers, owner: Any) -> list[Caller]:
    """Customers, and a full shelf."""
    await owner.execute("UPDATE products SET stock = 1000000 WHERE sku = $1", SKU)
    return [await callers.person(f"customer-{os.urandom(4).hex()}") for _ in range(PEOPLE)]


@asynccontextmanager
async def shopping(server: Server, people: list[Caller], address: Callable[[], str]) -> AsyncIterator[Customers]:
    async with each_worker(server, address) as workers:
        customers = Customers(list(workers.values()))
        async with customers.shopping(people):
            yield customers
    customers.all_was_well()


async def keys(server: Server, *words: str) -> dict[str, Any]:
    """What a `fortress keys` command says as JSON."""
    ended = await asyncio.to_thread(server.run, "keys", *words, "--json", seconds=ROTATION_SECONDS)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


async def killed_at(server: Server, line: str, *words: str) -> None:
    """Begin a `fortress keys` command, and kill it when it has said `line`."""
    with server.begin("keys", *words) as process:

        def until_said() -> bool:
            assert process.stderr is not None
            return any(line.encode() in said for said in process.stderr)

        said = await asyncio.to_thread(until_said)
        process.send_signal(signal.SIGKILL)
        assert said, f"it ended without {line!r}"
    assert process.returncode == -signal.SIGKILL


def ring(server: Server) -> list[dict[str, Any]]:
    """The wrapping keys of the ring's file."""
    found: list[dict[str, Any]] = json.loads((server.state_dir / "keyring.json").read_bytes())["wrapping"]
    return found


async def readable_after_a_restart(server: Server, people: list[Caller], customers: Customers, address: Callable[[], str]) -> None:
    """Nothing that a worker holds in memory helps here."""
    restart(server)
    await readable(server, people, customers, address)


def restart(server: Server) -> None:
    server.stop()
    server.start()


async def readable(server: Server, people: list[Caller], customers: Customers, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        found: dict[str, str] = {}
        for person in people:
            signed = await client.post("/auth/login", {"email": person.email, "password": PASSWORD})
            assert signed.status == 200, server.faults()
            reply = await client.get("/orders?limit=100", headers={"authorization": f"Bearer {signed.json()['access_token']}"})
            assert reply.status == 200, server.faults()
            found |= {order["id"]: order["note"] for order in reply.json()["items"]}
    assert found
    assert found.items() <= customers.notes.items()


async def restored_key_is_refused(server: Server, owner: Any, people: list[Caller], before: Any, address: Callable[[], str]) -> None:
    """A data key as a backup from before has it, wrapped by a key that is destroyed."""
    kept = await owner.fetchrow("SELECT key_id, wrapped FROM data_keys WHERE subject = $1", people[0].id)
    put = "UPDATE data_keys SET key_id = $2, wrapped = $3 WHERE subject = $1"
    await owner.execute(put, people[0].id, *before)
    restart(server)
    async with LiveClient(server.port, address=address, kept=False) as client:
        refused = await client.get("/orders", as_=people[0])
        assert refused.status == 500
        assert "for " not in refused.body.decode()
        assert (await client.get("/orders", as_=people[2])).status == 200
    await owner.execute(put, people[0].id, *kept)


async def test_wrapping_keys_change_under_load_and_through_a_kill_and_old_ones_are_destroyed(
    server: Server, people: list[Caller], owner: Any, address: Callable[[], str]
) -> None:
    old = [key["id"] for key in ring(server)]
    async with shopping(server, people, address) as customers:
        before = await owner.fetchrow("SELECT key_id, wrapped FROM data_keys WHERE subject = $1", people[0].id)
        await killed_at(server, "wrapping keys anew:", "rotate", "wrapping", "--destroy-old")
        assert len(ring(server)) == len(old) + 1, "the new key is there, and the old one not gone"
        done = await keys(server, "rotate", "wrapping", "--destroy-old")
    assert done["resumed"]
    assert sorted(done["destroyed"]) == sorted(old)
    assert len(ring(server)) == 1
    status = await keys(server, "status")
    assert (status["behind"], status["current"]) == (0, done["key"])
    assert await owner.fetchval("SELECT count(*) FROM data_keys WHERE wrapped IS NOT NULL AND key_id <> $1", done["key"]) == 0
    await restored_key_is_refused(server, owner, people, before, address)
    await readable(server, people, customers, address)


async def versions(owner: Any) -> set[int]:
    """Of the keys by which orders' notes are sealed."""
    rows = await owner.fetch("SELECT DISTINCT substring(note from 2 for 4) AS version FROM orders WHERE note IS NOT NULL")
    return {int.from_bytes(row["version"], "big") for row in rows}


async def test_data_keys_change_under_load_and_through_kills_and_the_old_ones_are_gone(
    server: Server, people: list[Caller], owner: Any, address: Callable[[], str]
) -> None:
    twice = "SELECT count(*) FROM (SELECT 1 FROM data_keys WHERE wrapped IS NOT NULL GROUP BY subject HAVING count(*) > 1) AS twice"
    async with shopping(server, people, address) as customers:
        await owner.execute("CREATE TABLE before AS SELECT subject, version, key_id, wrapped FROM data_keys WHERE wrapped IS NOT NULL")
        for line in ("making keys:", "encrypting anew:", "waiting"):
            await killed_at(server, line, "rotate", "data")
            assert await owner.fetchval(twice) >= PEOPLE
            assert await owner.fetchval("SELECT max(n) FROM (SELECT count(*) AS n FROM data_keys GROUP BY subject) AS each") == 2
        assert (await keys(server, "status"))["data_since"]
        done = await keys(server, "rotate", "data")
    assert done["resumed"]
    assert done["people"] >= PEOPLE
    assert await owner.fetchval(twice) == 0
    left = "SELECT count(*) FROM data_keys JOIN before USING (subject, version)"
    assert await owner.fetchval(left) == 0, "no key from before is there any more"
    newest = set(await owner.fetchval("SELECT array_agg(DISTINCT version) FROM data_keys WHERE wrapped IS NOT NULL"))
    assert await versions(owner) <= newest
    await readable_after_a_restart(server, people, customers, address)


async def index_states(owner: Any) -> set[str]:
    return set(await owner.fetchval("SELECT array_agg(DISTINCT state) FROM index_keys"))


@asynccontextmanager
async def slowly_dropped(owner: Any) -> AsyncIterator[None]:
    """An old index key goes so slowly that who drops it can be killed before it is gone."""
    await owner.execute("""
        CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN OLD; END';
        CREATE TRIGGER linger BEFORE DELETE ON index_keys FOR EACH ROW EXECUTE FUNCTION linger()""")
    yield
    await owner.execute("DROP FUNCTION linger CASCADE")


async def test_index_keys_change_under_load_and_through_kills_and_everybody_is_found(
    server: Server, people: list[Caller], owner: Any, address: Callable[[], str]
) -> None:
    async with shopping(server, people, address) as customers:
        before = {row["email_key"] for row in await owner.fetch("SELECT email_key FROM users")}
        await killed_at(server, "waiting", "rotate", "index")
        assert await index_states(owner) == {"active", "next"}
        async with slowly_dropped(owner):
            await killed_at(server, "indexing anew:", "rotate", "index")
        assert await index_states(owner) == {"active", "retired"}
        assert "users.email_key" in (await keys(server, "status"))["indexing"]
        done = await keys(server, "rotate", "index")
    assert done["resumed"]
    assert done["indexes"] >= 2
    after = {row["email_key"] for row in await owner.fetch("SELECT email_key FROM users")}
    assert not before & after
    assert await index_states(owner) == {"active"}
    await readable_after_a_restart(server, people, customers, address)
