"""Asking the ledger's server, and reading what came of it."""

from __future__ import annotations

from typing import Final

import asyncpg

from fortress.testing.client import Reply
from fortress.testing.crash import Operation
from fortress.testing.crash_traces import Mark, Trace
from fortress.testing.live import LiveClient

# Few, so that operations meet.
ACCOUNTS: Final = tuple(f"00000000-0000-7000-8000-{number:012x}" for number in range(1, 7))
REFUSED_SHARE: Final = 0.1

_TRACES: Final = {
    "entries": "SELECT number, account::text FROM entries ORDER BY id",
    "facts": """
        SELECT (payload->>'number')::bigint, aggregate::text FROM events WHERE name = 'EntryMade' ORDER BY tx, seq""",
    "audit": """
        SELECT (detail->>'number')::bigint, target FROM audit_log WHERE action = 'ledger.entered' ORDER BY tx, seq""",
}
# Ids are made before the transaction begins: theirs is no order that anybody promised.
_UNORDERED: Final = {"entries"}


async def enter(client: LiveClient, operation: Operation) -> Reply:
    """Do one operation; a tenth of them is to be refused when everything is written."""
    body = {"account": operation.aggregate, "number": operation.number, "refuse": operation.chance < REFUSED_SHARE}
    return await client.post("/entries", body)


async def enter_hastily(client: LiveClient, operation: Operation) -> Reply:
    """Do one operation by the route that says so before it is done."""
    return await client.post("/hasty-entries", {"account": operation.aggregate, "number": operation.number})


async def read_traces(url: str) -> list[Trace]:
    """Everything that operations left behind, the facts first: theirs is the order that counts."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        found = {name: await connection.fetch(sql) for name, sql in _TRACES.items()}
    finally:
        await connection.close(timeout=10)
    return [Trace(name, [Mark(*row) for row in rows], ordered=name not in _UNORDERED) for name, rows in found.items()]
