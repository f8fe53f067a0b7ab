from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from fortress.data.catalogue import OWN
from fortress.data.migration import Branch, Patience, runtime_branch
from fortress.testing.databases import Databases

_FILE = """from alembic import op

from fortress.data.migration.operations import *

revision = "{name}"
down_revision = {previous!r}
branch_labels = {labels!r}


def upgrade():
    {up}


def downgrade():
    {down}
"""

WriteMigration = Callable[..., Path]
Connect = Callable[..., "asyncpg.Connection"]


@pytest.fixture
async def owner_url(databases: Databases) -> AsyncIterator[str]:
    """An empty database, gone after the test."""
    async with databases.clone() as url:
        yield url


@pytest.fixture
def signed_in_as(owner_url: str) -> Callable[[str], str]:
    """The same database's URL for another role."""
    parts = urlsplit(owner_url)
    return lambda role: urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url, statement_cache_size=0)
    yield connection
    await connection.close()


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(owner_url, statement_cache_size=0)
    yield connection
    await connection.close()


@pytest.fixture
def orders(tmp_path: Path) -> Branch:
    """A domain without tables and without migrations, yet."""
    directory = tmp_path / "orders" / "migrations"
    directory.mkdir(parents=True)
    return Branch("orders", directory)


@pytest.fixture
def write(orders: Branch) -> WriteMigration:
    """Add a migration to `orders`: its name without serial's predecessor, and SQL for up and down."""

    def written(name: str, up: str = "SELECT 1", down: str = "SELECT 1", *, code: str | None = None) -> Path:
        chain = sorted(path.stem for path in orders.directory.glob("*.py"))
        previous = chain[-1] if chain else None
        path = orders.directory / f"{name}.py"
        labels = None if previous else ("orders",)
        body = code or f"op.execute({up!r})"
        path.write_text(_FILE.format(name=name, previous=previous, labels=labels, up=body, down=f"op.execute({down!r})"))
        return path

    return written


@pytest.fixture
def runtime() -> Branch:
    return runtime_branch([entity.table for entity in OWN])


@pytest.fixture
def hasty() -> Patience:
    """Gives up soon, so that the tests need not wait."""
    return Patience(lock_timeout=0.1, tries=4, first_pause=0.02, longest_pause=0.05, turn=5.0)
