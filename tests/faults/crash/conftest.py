"""The ledger, as the app that is crashed here, on one PostgreSQL server only: what is tested is what processes leave behind.

Whatever follows from the app is made anew: pytest keeps a session's fixtures, whatever they once were made of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from tests.faults.conftest import Connection
from tests.faults.crash.ledger.manifest import ledger
from tests.faults.harness.serving import ROOT

from fortress import Fortress
from fortress.domains import standard
from fortress.testing.databases import Databases
from fortress.testing.nursery import Nursery
from fortress.testing.plugin import template_of

LEDGER: Final = "tests.faults.crash.ledger.app:app"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Who tries more seeds waits longer."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(120 + 20 * config.getoption("--crash-seeds")))


@pytest.fixture(scope="session")
def app_target() -> str:
    return LEDGER


@pytest.fixture(scope="session")
def databases(fault_databases: Databases) -> Databases:
    return fault_databases


@pytest.fixture(scope="session")
def app_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger-template")


@pytest.fixture(scope="session")
def app_template(databases: Databases, app_state: Path) -> Iterator[str]:
    with template_of(Fortress(title="Ledger", domains=[*standard, ledger]), databases, app_state) as name:
        yield name


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    """The database owner's connection to this test's database."""
    connection = await asyncpg.connect(database_url, timeout=10)
    yield connection
    await connection.close(timeout=10)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery(LEDGER, ROOT) as made:
        yield made
