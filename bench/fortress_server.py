"""Our own server for the benchmarks: the bench project, on a new database, served as a user would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench import seed
from bench.environment import OURS
from bench.machine import MEASURED_CORE
from bench.run import Run
from bench.servers import Server

TARGET = "bench.project.app:app"


def settings(run: Run, database: str) -> dict[str, str]:
    """The environment of a process of ours; what it does not name is the default."""
    return {
        "FORTRESS_DATABASE_URL": database,
        "FORTRESS_STATE_DIR": str(run.directory / "state"),
        "FORTRESS_ACCESS_MINUTES": "60",
        "FORTRESS_LOG_FORMAT": "json",
        "PYTHONPATH": "src:examples:.",
    }


def new_database(run: Run, name: str) -> str:
    return asyncio.run(seed.recreate(run.database, name))


def fortress_server(
    run: Run, name: str, database: str, *, cores: Sequence[int] = (MEASURED_CORE,), more: dict[str, str] | None = None
) -> Server:
    """`fortress serve`, one worker. Started by `with`."""
    command = [str(OURS), "-m", "fortress.main", "serve", TARGET, "--port", "{port}", "--workers", "1"]
    environment = settings(run, database) | (more or {})
    return Server(name, command, log=run.log(name), environment=environment, ready="/health/ready", cores=cores)
