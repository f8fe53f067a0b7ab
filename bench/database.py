"""The PostgreSQL that the benchmarks use: the one that is set, else an embedded one of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from fortress.data.embedded import EmbeddedServer

STATE: Final = Path(".fortress") / "bench"
_CONNECTIONS: Final = "200"


@contextmanager
def server(environment: Mapping[str, str], console: Console) -> Iterator[str]:
    """The URL of a role that may create databases, for as long as the run lasts."""
    given = environment.get("FORTRESS_DATABASE_URL")
    if given:
        yield given
        return
    settings = {"max_connections": _CONNECTIONS}
    with EmbeddedServer(STATE / "postgres", say=lambda line: console.print(f"[dim]{line}[/]"), settings=settings) as embedded:
        yield embedded.url("postgres")
