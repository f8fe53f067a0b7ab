"""A PostgreSQL whose power is cut and given back."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg
import psutil

from fortress.data.embedded import EmbeddedServer


class Power:
    """The switch of an embedded PostgreSQL of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = EmbeddedServer(directory)
        self.url = self._server.start()

    async def cut(self, number: signal.Signals) -> None:
        """End the server at once, and wait until it is gone."""
        connection = await asyncpg.connect(self.url, timeout=10)
        postmaster = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).parent()
        connection.terminate()
        assert postmaster is not None
        postmaster.send_signal(number)
        await asyncio.to_thread(psutil.wait_procs, [postmaster], 10)

    async def restore(self) -> None:
        """Start it again."""
        again = EmbeddedServer(self._directory)
        await asyncio.to_thread(again.start)
        self._server, before = again, self._server
        before.stop()

    def off(self) -> None:
        self._server.stop()
