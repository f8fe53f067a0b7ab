"""Partitions made ahead, emptied of strays and dropped, by a server that has the owner's URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from fortress.data.partitions import Partitions
from fortress.telemetry.instruments import Merge
from fortress.telemetry.metrics import Metrics

PARTITION_SECONDS: Final = 3600.0
_CONNECT_SECONDS: Final = 5.0


def partition_upkeep(partitions: Partitions, owner: str, metrics: Metrics) -> Callable[[], Awaitable[None]]:
    """What is to be done now and then.

    Args:
        partitions: of all tables that are cut by month.
        owner: the URL of who may make and drop tables.
        metrics: shows the rows that no month took.
    """
    about = "Rows that no month took."
    # SQLAlchemy's own kind of text is no label.
    names = [str(table.table) for table in partitions.tables]
    strays = {name: metrics.gauge("partition_default_rows", about, {"table": name}, Merge.MAX) for name in names}

    async def run() -> None:
        connection = await asyncpg.connect(owner, timeout=_CONNECT_SECONDS)
        try:
            for table, rows in (await partitions.default_rows(connection)).items():
                strays[table].set(rows)
            await partitions.ensure(connection)
            await partitions.retire(connection)
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)

    return run
