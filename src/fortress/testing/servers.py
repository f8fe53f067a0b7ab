"""The PostgreSQL servers that the suites run on: the embedded one always, and one on 127.0.0.1:5432 where it answers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from fortress.data.embedded import EmbeddedServer
from fortress.data.embedded_lock import exclusive

LOCAL: Final = ("127.0.0.1", 5432)
LOCAL_URL: Final = "postgresql://postgres@127.0.0.1:5432/postgres"
REDIS: Final = ("127.0.0.1", 6379)
REDIS_URL: Final = "redis://127.0.0.1:6379/9"
NATS: Final = ("127.0.0.1", 4222)
NATS_URL: Final = "nats://127.0.0.1:4222"
# What a test loses with the machine is no loss.
_QUICK: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
# A database of a test's own is some 600 files, and making them on a disk that others use takes longer than most tests.
_MEMORY: Final = Path("/dev/shm")
_LEAST_FREE: Final = 2 * 1024**3


def server_names() -> list[str]:
    """`embedded`, and `local` when it answers; FORTRESS_DATABASE_URL alone when it is set."""
    if os.environ.get("FORTRESS_DATABASE_URL"):
        return ["given"]
    return ["embedded", "local"] if answers(*LOCAL) else ["embedded"]


@contextmanager
def server_url(name: str, project: Path) -> Iterator[str]:
    """The owner's URL on the server of this name, for as long as the tests of the project in that folder need it."""
    if name == "given":
        yield os.environ["FORTRESS_DATABASE_URL"]
    elif name == "local":
        yield LOCAL_URL
    else:
        with EmbeddedServer(_home(project), settings=_QUICK) as server:
            yield server.url("postgres")


def forget_server(project: Path) -> None:
    """Give the memory back that the project's own server took, unless somebody still uses it."""
    home = _in_memory(project)
    if home.exists():
        with exclusive(home.with_name(f"{home.name}.lock")):
            if not (home / "data" / "postmaster.pid").exists():
                shutil.rmtree(home)


def _home(project: Path) -> Path:
    """Where the project's own server keeps its data: in memory, where the system has room there."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _LEAST_FREE:
        return _in_memory(project)
    return project / ".fortress" / "test-postgres"


def _in_memory(project: Path) -> Path:
    return _MEMORY / f"fortress-{os.getuid()}-{hashlib.sha256(os.fsencode(project)).hexdigest()[:12]}" / "postgres"


async def wire_to(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The raw wire to the server of this PostgreSQL or Redis URL, for proxies that cut or freeze it."""
    parts = urlsplit(url)
    usual = 6379 if parts.scheme == "redis" else 5432
    folder = parse_qs(parts.query).get("host")
    if folder:
        return await asyncio.open_unix_connection(Path(folder[0]) / f".s.PGSQL.{usual}")
    return await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or usual)


def through(url: str, port: int) -> str:
    """The same database, reached by a proxy's port on the loopback."""
    parts = urlsplit(url)
    person = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=f"{person}127.0.0.1:{port}", query=""))


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False
