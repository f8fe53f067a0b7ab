"""The audit log against its own application, and against the owner of the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from tests.faults.conftest import Serve
from tests.faults.harness.serving import Server

from fortress.testing.callers import Callers
from fortress.testing.databases import Databases
from fortress.testing.live import LiveClient
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD

pytestmark = pytest.mark.faults

APPEND_ONLY = """
SELECT relid::regclass::text FROM pg_partition_tree('audit_log')
UNION SELECT relid::regclass::text FROM pg_partition_tree('events')
UNION SELECT 'audit_seals'"""
ROWS = "SELECT id FROM audit_log ORDER BY tx, seq"
UNSEALED = "SELECT count(*) FROM audit_log WHERE NOT EXISTS (SELECT FROM audit_seals WHERE audit_log.id = ANY(row_ids))"
COPY = """
INSERT INTO audit_log (id, at, actor_id, actor_kind, action, detail, tx)
SELECT gen_random_uuid(), at, actor_id, actor_kind, 'orders.forgiven', detail, tx FROM audit_log WHERE id = $1"""


@pytest.fixture(scope="module")
def stopped(serve: Serve, address: Callable[[], str]) -> Server:
    """A server that has done something, sealed it, done a little more without sealing, and gone."""
    server = serve(audit_seal_seconds=0.3)
    asyncio.run(_live(server, address))
    assert server.stop() == 0
    return server


async def _live(server: Server, address: Callable[[], str]) -> None:
    async with LiveClient(server.port, address=address, kept=False) as client:
        callers = Callers(client, ADMIN, ADMIN_PASSWORD)
        buyer = await callers.person()
        for _ in range(3):
            placed = await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}, as_=buyer)
            assert placed.status == 201
    await _all_sealed(server.database_url)


async def _all_sealed(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with asyncio.timeout(30):
            while await connection.fetchval(UNSEALED):  # noqa: ASYNC110 - a seal tells nobody
                await asyncio.sleep(0.1)
    finally:
        await connection.close(timeout=10)


Tamper = Callable[[asyncpg.Connection, list[UUID]], Any]


class Evidence:
    """A copy of the sealed log to tamper with; verified with the keys and the witness of the server that sealed it."""

    def __init__(self, url: str, state_dir: Path) -> None:
        self.url = url
        self._server = Server(url, state_dir)

    async def tamper(self, act: Tamper) -> list[UUID]:
        """Do this as the owner; gives the rows that were there, in their order."""
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            rows = [row["id"] for row in await connection.fetch(ROWS)]
            await act(connection, rows)
            return rows
        finally:
            await connection.close(timeout=10)

    async def verdict(self, code: int) -> dict[str, Any]:
        """What `fortress audit verify` finds; its exit code is `code`."""
        done = await asyncio.to_thread(self._server.run, "audit", "verify", "--json")
        assert done.returncode == code, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
async def evidence(stopped: Server, fault_databases: Databases) -> AsyncIterator[Evidence]:
    async with fault_databases.clone(urlsplit(stopped.database_url).path[1:]) as url:
        yield Evidence(url, stopped.state_dir)


async def test_the_application_may_add_to_the_log_and_nothing_else(evidence: Evidence) -> None:
    async def attempt(connection: asyncpg.Connection, _rows: list[UUID]) -> None:
        tables = [row[0] for row in await connection.fetch(APPEND_ONLY)]
        assert len(tables) > 6
        await connection.execute("SET ROLE fortress_app")
        columns = {"audit_seals": "number", "events": "name"}
        for table in tables:
            column = columns.get(table) or ("name" if table.startswith("events") else "action")
            for sql in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}", f"DROP TABLE {table}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(sql)
        for sql in ("ALTER TABLE audit_log DISABLE TRIGGER ALL", "CREATE RULE quiet AS ON INSERT TO audit_log DO INSTEAD NOTHING"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)

    await evidence.tamper(attempt)


async def test_an_untouched_log_is_sound_and_says_what_is_not_sealed(evidence: Evidence) -> None:
    sound = await evidence.verdict(0)
    assert (sound["breaches"], sound["unsealed"], sound["witnessed"]) == ([], 0, True)
    rows = await evidence.tamper(_add_three)
    longer = await evidence.verdict(0)
    assert (longer["breaches"], longer["rows"], longer["unsealed"]) == ([], len(rows), 3)


async def _add_three(connection: asyncpg.Connection, rows: list[UUID]) -> None:
    await connection.executemany(COPY.replace("detail, tx FROM", "detail, pg_current_xact_id() FROM"), [(rows[-1],)] * 3)


async def test_the_first_changed_row_is_named(evidence: Evidence) -> None:
    async def change(connection: asyncpg.Connection, rows: list[UUID]) -> None:
        await connection.execute('UPDATE audit_log SET detail = \'{"total": "0.01"}\' WHERE id = ANY($1::uuid[])', rows[-2:])

    rows = await evidence.tamper(change)
    first = (await evidence.verdict(1))["breaches"][0]
    assert (first["fault"], first["row"]) == ("changed_row", str(rows[-2]))


async def test_no_field_of_a_row_can_be_changed_unseen(evidence: Evidence) -> None:
    changes = ("actor_id = gen_random_uuid()", "at = at + interval '1 microsecond'", "address = '192.0.2.1'", "detail = '{\"forged\": 1}'")

    async def change(connection: asyncpg.Connection, rows: list[UUID]) -> None:
        for change, row in zip(changes, rows, strict=False):
            await connection.execute(f"UPDATE audit_log SET {change} WHERE id = $1", row)

    rows = await evidence.tamper(change)
    found = [(breach["fault"], breach["row"]) for breach in (await evidence.verdict(1))["breaches"]]
    assert found == [("changed_row", str(row)) for row in rows[: len(changes)]]


async def test_a_deleted_row_is_missed_by_name(evidence: Evidence) -> None:
    async def delete(connection: asyncpg.Connection, rows: list[UUID]) -> None:
        await connection.execute("DELETE FROM audit_log WHERE id = $1", rows[2])

    rows = await evidence.tamper(delete)
    first = (await evidence.verdict(1))["breaches"][0]
    assert (first["fault"], first["row"]) == ("missing_row", str(rows[2]))


async def test_a_row_put_in_between_is_found(evidence: Evidence) -> None:
    async def insert(connection: asyncpg.Connection, rows: list[UUID]) -> None:
        await connection.execute(COPY, rows[0])

    rows = await evidence.tamper(insert)
    first = (await evidence.verdict(1))["breaches"][0]
    assert first["fault"] == "extra_row"
    assert first["row"] not in map(str, rows)


async def test_a_tail_that_is_cut_off_with_its_seals_is_noticed(evidence: Evidence) -> None:
    async def cut(connection: asyncpg.Connection, _rows: list[UUID]) -> None:
        last = await connection.fetchrow("DELETE FROM audit_seals WHERE number = (SELECT max(number) FROM audit_seals) RETURNING row_ids")
        assert last is not None
        await connection.execute("DELETE FROM audit_log WHERE id = ANY($1::uuid[])", last["row_ids"])

    await evidence.tamper(cut)
    assert (await evidence.verdict(1))["breaches"][0]["fault"] == "cut_tail"


async def test_a_chain_that_the_owner_makes_anew_is_not_ours(evidence: Evidence) -> None:
    async def forge(connection: asyncpg.Connection, rows: list[UUID]) -> None:
        await connection.execute("UPDATE audit_seals SET mac = sha256(mac) WHERE number = 1")

    await evidence.tamper(forge)
    first = (await evidence.verdict(1))["breaches"][0]
    assert (first["fault"], first["seal"]) == ("forged_seal", 1)
