"""Real issuers as processes of their own, installed when they are first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import asyncpg
import pytest
from tests.providers.browser import Browser

from fortress.testing.client import Client
from fortress.testing.servers import server_names, server_url

HERE: Final = Path(__file__).parent
SECRET: Final = "what the client and the issuer share"
ORIGIN: Final = "http://127.0.0.1:8000"
_NEEDED: Final = ("package.json", "package-lock.json")


@pytest.fixture(scope="session", params=server_names()[:1])
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """One server: what an issuer says does not depend on the database."""
    with server_url(request.param, request.config.rootpath) as url:
        yield url


@pytest.fixture(scope="session")
def modules(pytestconfig: pytest.Config) -> Path:
    """A folder with the issuers' modules; made once for each lock file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("the issuers need node and npm")
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(pytestconfig.rootpath) / ".fortress" / f"test-providers-{lock}"
    if not folder.exists():
        _install(folder)
    return folder


@pytest.fixture(scope="session")
def oidc_provider(modules: Path) -> Iterator[str]:
    """The address of an issuer that keeps every rule."""
    with _running(modules, "oidc_provider.mjs", SECRET, ORIGIN) as (port,):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def mock_server(modules: Path) -> Iterator[tuple[str, str]]:
    """The address of an issuer that does what it is told, and the one where it is told."""
    with _running(modules, "mock_server.mjs") as (port, control):
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control}/behave"


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(client)


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def _install(folder: Path) -> None:
    """Beside its place first, so that of two test runs at once each finds it whole."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(mkdtemp(prefix="test-providers-", dir=folder.parent))
    for name in _NEEDED:
        shutil.copy(HERE / name, fresh)
    command = ["npm", "ci", "--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error", "--prefix", str(fresh)]
    subprocess.run(command, check=True, timeout=50, capture_output=True)
    try:
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh)


@contextmanager
def _running(modules: Path, script: str, *arguments: str) -> Iterator[list[str]]:
    """The script as a process, and the ports that it says it listens on."""
    shutil.copy(HERE / script, modules)
    process = subprocess.Popen(["node", script, *arguments], cwd=modules, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()
    finally:
        process.terminate()
        process.communicate(timeout=10)
