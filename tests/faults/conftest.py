"""Real servers for the fault tests: their databases, processes, clients and people."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
from tests.faults.harness.serving import SHOP, Server, Stable

from fortress import Fortress
from fortress.security.keyfile import DEVELOPMENT_FILE
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from fortress.testing.databases import Databases
from fortress.testing.live import LiveClient, addresses
from fortress.testing.nursery import Nursery
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD, template_of
from fortress.testing.servers import NATS, NATS_URL, answers, server_names, server_url

Serve = Callable[..., Server]
if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection


@pytest.fixture(scope="session")
def fault_databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Makes databases on one server only: what is tested here is what processes do to each other."""
    with server_url(server_names()[0], request.config.rootpath) as url:
        yield Databases(url)


@pytest.fixture(scope="session")
def fault_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the key ring is by which the template's personal data can be read."""
    return tmp_path_factory.mktemp("fault-template")


@pytest.fixture(scope="session")
def fault_template(app: Fortress, fault_databases: Databases, fault_state: Path) -> Iterator[str]:
    """A database with the shop's schema, an administrator and demo data."""
    with template_of(app, fault_databases, fault_state) as name:
        yield name


@pytest.fixture(scope="session")
def app_target() -> str:
    return SHOP


@pytest.fixture(scope="module")
def serve(
    fault_databases: Databases, fault_template: str, fault_state: Path, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Starts a server on a database of its own: `serve(workers=2, header_timeout=1)`; all end with the module.

    `through` turns the database's URL into another one (a tap's); `target`, `directory` serve another project.
    """
    stable = Stable()
    with ExitStack() as stack:
        stack.callback(stable.clear)

        def start(*, through: Callable[[str], str] = str, **options: Any) -> Server:
            url = stack.enter_context(clone_of(fault_databases, fault_template))
            state = tmp_path_factory.mktemp("state")
            shutil.copy(fault_state / DEVELOPMENT_FILE, state)
            # Another project is imported by its own server.
            forked_from = None if "target" in options else nursery
            server = stable.add(Server(through(url), state, nursery=forked_from, **options))
            server.start()
            return server

        yield start


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    """One server with two workers for all tests of a module that do it no harm."""
    return serve()


@pytest.fixture(scope="session")
def address() -> Callable[[], str]:
    """Gives a loopback address that nobody has called from yet, so that no other test's limits count."""
    return addresses().__next__


@pytest.fixture
async def client(server: Server, address: Callable[[], str]) -> AsyncIterator[LiveClient]:
    """Calls `server`, each connection from another address, a connection for each request."""
    async with LiveClient(server.port, address=address, kept=False) as opened:
        yield opened


@pytest.fixture
def callers(client: Client) -> Callers:
    """Makes people on `server`."""
    return Callers(client, ADMIN, ADMIN_PASSWORD)


@pytest.fixture
async def owner(server: Server) -> AsyncIterator[Connection]:
    """The database owner's connection to `server`'s database."""
    connection = await asyncpg.connect(server.database_url, timeout=10)
    yield connection
    await connection.close(timeout=10)


@contextmanager
def clone_of(databases: Databases, template: str) -> Iterator[str]:
    """A database for as long as the block lasts; in a thread, because servers are started from tests whose loop runs."""
    clone = databases.clone(template)
    with ThreadPoolExecutor(1) as thread, closing(asyncio.Runner(loop_factory=asyncio.new_event_loop)) as runner:
        yield thread.submit(runner.run, clone.__aenter__()).result()
        thread.submit(runner.run, clone.__aexit__(None, None, None)).result()


@pytest.fixture
async def stream() -> AsyncIterator[str]:
    """A stream at NATS that is gone after the test."""
    if not answers(*NATS):
        pytest.skip("no NATS answers")
    import nats
    from nats.js.errors import NotFoundError

    name = f"test_{uuid4().hex[:12]}"
    yield name
    client = await nats.connect(NATS_URL)
    try:
        await client.jetstream().delete_stream(name)
    except NotFoundError:
        return
    finally:
        await client.close()
