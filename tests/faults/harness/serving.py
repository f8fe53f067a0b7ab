"""The shop as `fortress serve` runs it, with every worker counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Final

import psutil

from fortress.testing.nursery import Nursery
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from fortress.testing.processes import ServerProcess

ROOT: Final = Path(__file__).parents[3]
SHOP: Final = "shop.app:app"


class Server(ServerProcess):
    """The shop, or another project, on two workers; it is up when all of them listen."""

    usual: ClassVar[Mapping[str, object]] = {
        **ServerProcess.usual,
        "workers": 2,
        "admin_email": ADMIN,
        "admin_password": ADMIN_PASSWORD,
        # Most tests that guess passwords look at other bounds; those of guessing have a test of their own.
        "sign_in_failures": 1_000_000,
        "sign_in_failures_per_address": 1_000_000,
        # A machine that is busy with tests is no reason to count locally.
        "limit_store_timeout": 2,
    }

    def __init__(
        self,
        database_url: str,
        state_dir: Path,
        *,
        target: str = SHOP,
        directory: Path = ROOT,
        nursery: Nursery | None = None,
        **settings: object,
    ) -> None:
        super().__init__(database_url, state_dir, target=target, directory=directory, nursery=nursery, **settings)

    @property
    def workers(self) -> list[int]:
        """The processes that serve now."""
        listening = []
        for child in _children(self.pid):
            try:
                if any(one.laddr.port == self.port for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN):
                    listening.append(child.pid)
            except psutil.Error:
                continue
        return listening

    def is_up(self) -> bool:
        """Whether every worker listens, and it says that it is ready."""
        return len(self.workers) == int(self.environment["FORTRESS_WORKERS"]) and super().is_up()


class Stable:
    """Keeps the servers of a test, and leaves none behind."""

    def __init__(self) -> None:
        self._servers: list[Server] = []

    def add(self, server: Server) -> Server:
        self._servers.append(server)
        return server

    def clear(self) -> None:
        for server in self._servers:
            server.kill9()


def _children(pid: int) -> Iterator[psutil.Process]:
    try:
        yield from psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
