"""The plugin as a project of somebody else's meets it: its own folder, its own pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fortress.testing.servers import server_names

CONFTEST = """
import pytest

from fortress import Fortress
from fortress.domain import Domain
from fortress.domains import standard
from fortress.http import Request, get, per_minute
from fortress.security import Permission, Role

READ = Permission("notes:read", "Read notes")
READER = Role("reader", "Reads notes", grants=[READ])


@get("/notes", allow=READ, limit=per_minute(60))
async def read_notes() -> list[str]:
    return ["first"]


@pytest.fixture(scope="session")
def app() -> Fortress:
    notes = Domain(name="notes", permissions=[READ], roles=[READER], routes=[read_notes])
    return Fortress(title="Notes", domains=[*standard, notes])
"""

TESTS = """
import socket

import pytest

from fortress.domains.access.service import AccessService
from fortress.testing.network import NetworkRefused


@pytest.mark.parametrize(("who", "status"), [("nobody", 401), ("stranger", 403), ("reader", 200), ("admin", 200)])
async def test_readers_read(client, callers, who, status):
    caller = {
        "nobody": lambda: callers.nobody,
        "stranger": callers.person,
        "reader": lambda: callers.person(roles=["reader"]),
        "admin": callers.administrator,
    }[who]()
    if who != "nobody":
        caller = await caller
    assert (await client.get("/notes", as_=caller)).status == status


async def test_services_are_there_without_http(services, rolled_back):
    assert services.get(AccessService) is services.get(AccessService)
    assert await rolled_back.fetchrow("SELECT 1") is not None


def test_the_network_is_not():
    with socket.socket() as outward, pytest.raises(NetworkRefused):
        outward.connect(("192.0.2.1", 80))
"""

INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.mark.parametrize("postgres_server", server_names()[-1:], indirect=True, scope="session")
def test_a_project_tests_itself_with_it(tmp_path: Path, postgres_server: str) -> None:
    for name, text in (("conftest.py", CONFTEST), ("test_notes.py", TESTS), ("pytest.ini", INI)):
        (tmp_path / name).write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "FORTRESS_DATABASE_URL": postgres_server},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "6 passed" in run.stdout
