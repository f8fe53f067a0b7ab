"""Asking the ledger's server, and reading what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fortress.testing.client import Reply
from fortress.testing.crash import Operation
from fortress.testing.crash_traces import Mark, Trace
from fortress.testing.live import LiveClient

if TYPE_CHECKING:
    from tests.faults.conftest import Connection

# Few, so that operations meet.
ACCOUNTS: Final = tuple(f"00000000-0000-7000-8000-{number:012x}" for number in range(1, 7))
REFUSED_SHARE: Final = 0.1

FACTS: Final = "SELECT (payload->>'number')::bigint, aggregate::text FROM events WHERE name = 'EntryMade' ORDER BY tx, seq"
CARELESS: Final = "SELECT number, account::text FROM effects WHERE place = 'careless' ORDER BY position"
_TRACES: Final = {
    "facts": FACTS,
    "entries": "SELECT number, account::text FROM entries ORDER BY id",
    "audit": """
        SELECT (detail->>'number')::bigint, target FROM audit_log WHERE action = 'ledger.entered' ORDER BY tx, seq""",
    "tallied": "SELECT number, account::text FROM effects WHERE place = 'tally' ORDER BY position",
    "tasted": "SELECT number, account::text FROM effects WHERE place = 'taste' ORDER BY position",
    "settled": "SELECT number, account::text FROM effects WHERE place = 'settle' ORDER BY position",
}
# Ids are made before the transaction begins, and jobs run side by side: theirs is no order that anybody promised.
_UNORDERED: Final = {"entries", "settled"}
_LEFT: Final = """
    SELECT (SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))
        + (SELECT count(*) FROM parked_facts WHERE state <> 'dead')
        + (SELECT count(*) FROM subscriber_lanes AS lane WHERE subscriber LIKE 'ledger.%' AND EXISTS (
            SELECT FROM events WHERE name = 'EntryMade' AND (events.tx, events.seq) > (lane.tx, lane.seq)))"""
# Whoever was at work is dead: nobody need wait until their silence has lasted long enough.
_PASS_TIME: Final = (
    "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 hour'",
    "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo' AND scheduled_at > now()",
    "UPDATE broker_leases SET held_until = clock_timestamp()",
)


async def enter(client: LiveClient, operation: Operation) -> Reply:
    """Do one operation; a tenth of them is to be refused when everything is written."""
    body = {"account": operation.aggregate, "number": operation.number, "refuse": operation.chance < REFUSED_SHARE}
    return await client.post("/entries", body)


async def enter_hastily(client: LiveClient, operation: Operation) -> Reply:
    """Do one operation by the route that says so before it is done."""
    return await client.post("/hasty-entries", {"account": operation.aggregate, "number": operation.number})


async def left(connection: Connection) -> int:
    """How much is still to be done: jobs, facts that are parked, and lanes of subscribers that are behind."""
    return int(await connection.fetchval(_LEFT))


async def pass_time(connection: Connection) -> None:
    """Let the dead be known to be dead, their leases end, and what waits for its next try come now."""
    for statement in _PASS_TIME:
        await connection.execute(statement)


async def marks(connection: Connection, sql: str) -> list[Mark]:
    """What this finds: numbers with their aggregates."""
    return [Mark(*row) for row in await connection.fetch(sql)]


async def read_traces(connection: Connection) -> list[Trace]:
    """Everything that operations left behind, the facts first: theirs is the order that counts."""
    return [Trace(name, await marks(connection, sql), ordered=name not in _UNORDERED) for name, sql in _TRACES.items()]
