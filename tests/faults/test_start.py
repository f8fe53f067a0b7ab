"""What a start that can't succeed says: one clear line, exit 1, no traceback."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import asyncpg
import pytest
from tests.faults.harness.serving import Server

from fortress.clock import SystemClock
from fortress.security.keyfile import open_keyring
from fortress.settings import Settings
from fortress.testing.databases import Databases
from fortress.testing.live import LiveClient
from fortress.testing.processes import START_SECONDS, STOP_SECONDS, eventually

pytestmark = pytest.mark.faults

OPEN_HANDLER = """
from fortress import Fortress
from fortress.domain import Domain
from fortress.domains import standard

async def leak() -> str:
    return "everything"

app = Fortress(domains=[*standard, Domain(name="leaky", routes=[leak])])
"""


LOOSE_ROUTE = """
from fortress import Fortress
from fortress.domain import Domain
from fortress.domains import standard
from fortress.http import PUBLIC, get, per_minute

@get("/secrets", %s)
async def list_secrets() -> str:
    return "everything"

app = Fortress(domains=[*standard, Domain(name="loose", routes=[list_secrets])])
"""


def refused(server: Server) -> str:
    """What `fortress serve` says when it does not start."""
    server.launch()
    try:
        assert server.wait(STOP_SECONDS) == 1
    except subprocess.TimeoutExpired:
        pytest.fail(f"it started: {server.said()}")
    said = server.said()
    assert "Traceback" not in said
    complaints = [line for line in said.splitlines() if line.startswith("fortress:")]
    assert len(complaints) == 1, said
    return said


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    server = Server("", tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        assert f"127.0.0.1:{server.port} is taken by another server" in refused(server)


async def test_a_database_of_a_newer_release_is_left_alone(fault_databases: Databases, fault_template: str, tmp_path: Path) -> None:
    async with fault_databases.clone(fault_template) as url:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute("UPDATE alembic_version SET version_num = 'orders_0999_post_later' WHERE version_num ~ '^orders'")
            assert "the database is of a newer release: it has orders_0999_post_later" in refused(Server(url, tmp_path))
            assert await connection.fetchval("SELECT count(*) FROM products") > 0
        finally:
            await connection.close(timeout=10)


async def test_a_database_of_another_key_ring_is_left_alone(
    fault_databases: Databases, fault_template: str, fault_state: Path, tmp_path: Path
) -> None:
    async with fault_databases.clone(fault_template) as url:
        said = refused(Server(url, tmp_path))
    assert "fortress: what is personal in this database was encrypted under another key ring" in said
    assert "FORTRESS_KEYRING" in said


def test_production_without_a_key_ring_does_not_start(tmp_path: Path) -> None:
    server = Server("postgresql://nobody:hidden-word@127.0.0.1:1/none", tmp_path, env="production")
    said = refused(server)
    assert "production needs FORTRESS_KEYRING" in said
    assert "hidden-word" not in said


def test_an_unknown_setting_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    said = refused(Server("", tmp_path, wrokers="4"))
    assert "unknown setting FORTRESS_WROKERS" in said
    assert "FORTRESS_WORKERS" in said


def test_a_database_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    said = refused(Server("postgresql://nobody:hidden-word@127.0.0.1:1/none", tmp_path))
    assert "the database can't be reached" in said
    assert "hidden-word" not in said


def test_a_handler_without_a_policy_is_named(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(OPEN_HANDLER)
    said = refused(Server("", tmp_path / "state", target="leaky:app", directory=tmp_path))
    assert "leak has no policy" in said
    assert "leaky.py" in said


@pytest.mark.parametrize("left_out", ["allow", "limit"])
def test_a_route_without_who_or_how_often_is_named(left_out: str, tmp_path: Path) -> None:
    given = {"allow": "allow=PUBLIC", "limit": "limit=per_minute(1)"}
    del given[left_out]
    (tmp_path / "loose.py").write_text(LOOSE_ROUTE % ", ".join(given.values()))
    said = refused(Server("", tmp_path / "state", target="loose:app", directory=tmp_path))
    assert f"GET /api/v*/secrets has no {'permission' if left_out == 'allow' else 'limit'}" in said


async def test_production_waits_for_its_migrations_and_says_so(fault_databases: Databases, tmp_path: Path) -> None:
    open_keyring(Settings(state_dir=tmp_path), SystemClock())
    async with fault_databases.clone() as url:
        server = Server(url, tmp_path, env="production", keyring=tmp_path / "keyring.json", workers=1)
        server.launch()
        try:
            assert await asyncio.to_thread(eventually, server.readiness, START_SECONDS), server.said()
            async with LiveClient(server.port) as client:
                ready = await client.call("GET", "/health/ready", base="")
                assert (ready.status, ready.json()["checks"]["schema"]) == (503, "behind")
                assert (await client.call("GET", "/health/live", base="")).status == 200
                done = await asyncio.to_thread(server.run, "migrate", "up")
                assert done.returncode == 0, done.stderr
                assert await asyncio.to_thread(eventually, lambda: server.readiness() == 200)
        finally:
            server.kill9()
