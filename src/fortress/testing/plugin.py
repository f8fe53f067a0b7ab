"""The pytest plugin. A project gives `app`; it gets a database of its own for each test, a client, and callers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from pydantic import SecretStr

from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.data.roles import APP_ROLE
from fortress.mail import Mailer
from fortress.security.keyfile import DEVELOPMENT_FILE
from fortress.security.wrapping import Wrapping
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from fortress.testing.databases import Databases
from fortress.testing.fakes import RecordingMailer
from fortress.testing.jobs import Jobs
from fortress.testing.network import loopback_only
from fortress.testing.nursery import Nursery
from fortress.testing.processes import ServerProcess
from fortress.testing.rollback import RolledBackDatabase
from fortress.testing.servers import NATS, REDIS, REDIS_URL, answers, forget_server, server_names, server_url
from fortress.testing.subscribers import Subscribers

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress
    from fortress.bootstrap.container import Container

ADMIN: Final = "admin@example.com"
ADMIN_PASSWORD: Final = "the administrator of a test"
CRASH_SEEDS: Final = 1
Start = Callable[..., Awaitable["Fortress"]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Takes `--crash-seeds=200`."""
    group = parser.getgroup("fortress")
    group.addoption("--crash-seeds", type=int, default=CRASH_SEEDS, help=f"seeds of each crash test ({CRASH_SEEDS})")


def pytest_report_header() -> list[str]:
    """Says which real servers the run has, and which not."""
    redis = "127.0.0.1:6379" if answers(*REDIS) else "none answers on 127.0.0.1:6379; its suites are skipped"
    nats = "127.0.0.1:4222" if answers(*NATS) else "none answers on 127.0.0.1:4222; its suites are skipped"
    return [f"fortress: PostgreSQL {', '.join(server_names())}; Redis {redis}; NATS {nats}"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last process of a run gives back what its server took."""
    if not hasattr(config, "workerinput"):
        forget_server(config.rootpath)


@pytest.fixture(scope="session", params=server_names())
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The owner's URL on each PostgreSQL server there is."""
    with server_url(request.param, request.config.rootpath) as url:
        yield url


@pytest.fixture(scope="session")
def databases(postgres_server: str) -> Databases:
    """Makes databases on that server."""
    return Databases(postgres_server)


@pytest.fixture(scope="session")
def app_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the key ring is by which the template's personal data can be read."""
    return tmp_path_factory.mktemp("template")


@pytest.fixture(scope="session")
def app_template(app: Fortress, databases: Databases, app_state: Path) -> Iterator[str]:
    """A database with the app's schema, an administrator and its demo data."""
    with template_of(app, databases, app_state) as name:
        yield name


@pytest.fixture
async def database_url(databases: Databases, app_template: str) -> AsyncIterator[str]:
    """A database of this test's own, at head."""
    async with databases.clone(app_template) as url:
        yield url


@pytest.fixture
def settings(database_url: str, app_state: Path, tmp_path: Path) -> Settings:
    """What the app runs with in this test; override to change."""
    return _settings(database_url, _with_keys(tmp_path, app_state))


@pytest.fixture
async def running(app: Fortress, settings: Settings) -> AsyncIterator[Fortress]:
    """The app, started on this test's database."""
    app.with_settings(settings)
    await app.start()
    yield app
    await app.stop()


@pytest.fixture
def client(running: Fortress) -> Client:
    """Calls the running app, in process."""
    return Client(running)


@pytest.fixture
def callers(client: Client) -> Callers:
    """Makes people to call as: strangers, and holders of any roles."""
    return Callers(client, ADMIN, ADMIN_PASSWORD)


@pytest.fixture(scope="session")
def app_target() -> str:
    """The app as `fortress serve` is told it; a project whose tests start servers overrides this."""
    pytest.fail('say in conftest.py which app is served: a fixture `app_target` that gives "module:name"')


@pytest.fixture(scope="session")
def nursery(app_target: str, request: pytest.FixtureRequest) -> Iterator[Nursery]:
    """A process that has imported the app, and forks servers of it."""
    with Nursery(app_target, Path(request.config.rootpath)) as made:
        yield made


@pytest.fixture
def server_process(
    database_url: str, app_state: Path, app_target: str, nursery: Nursery, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[ServerProcess]:
    """The app as a real `fortress serve` on this test's database: not started yet, and gone after the test."""
    state, directory = _with_keys(tmp_path, app_state), Path(request.config.rootpath)
    admin: dict[str, Any] = {"admin_email": ADMIN, "admin_password": ADMIN_PASSWORD}
    server = ServerProcess(database_url, state, target=app_target, directory=directory, nursery=nursery, **admin)
    yield server
    server.kill9()


@pytest.fixture(scope="session")
def crash_seeds(request: pytest.FixtureRequest) -> range:
    """The seeds that a crash test tries: few, or as many as `--crash-seeds` says."""
    return range(request.config.getoption("--crash-seeds"))


@pytest.fixture(scope="session")
def service_database_url(databases: Databases, app_template: str) -> Iterator[str]:
    """A database at head that all tests of services share, because they leave nothing in it."""
    with databases.kept(template=app_template) as url:
        yield url


@pytest.fixture
async def services(app: Fortress, service_database_url: str, app_state: Path, tmp_path: Path) -> AsyncIterator[Container]:
    """The app's services, without HTTP, over a database that forgets the test: `services.get(OrderService)`.

    Mail goes to a RecordingMailer: `services.get(Mailer)`. What such a database can't do is said in fortress.testing.rollback.
    """
    settings = _settings(service_database_url, _with_keys(tmp_path, app_state))
    async with app.opened(settings) as runtime:
        made = runtime.container
        made.add(Mailer, RecordingMailer())
        url, clock, ids = service_database_url, made.get(Clock), made.get(Ids)
        shared: dict[str, Any] = {"clock": clock, "ids": ids, "wrapping": made.get(Wrapping)}
        async with RolledBackDatabase(url, settings, secret=bytes(32), role=APP_ROLE, **shared) as database:
            made.add(Database, database)
            yield made


@pytest.fixture
def rolled_back(services: Container) -> Database:
    """The services' database: what a test writes to it, also by itself, is gone after the test."""
    return services.get(Database)


@pytest.fixture
def jobs(app: Fortress, request: pytest.FixtureRequest) -> Jobs:
    """The jobs of this test, of its `services` or of the running app: `await jobs.waiting()`, `await jobs.settle()`."""
    return Jobs(app.assemble().jobs, lambda: _container(app, request))


@pytest.fixture
async def subscribers(app: Fortress, request: pytest.FixtureRequest) -> Subscribers:
    """The subscribers of this test, of its `services` or of the running app: `await subscribers.settle()`."""
    assembly = app.assemble()
    made = Subscribers(assembly.subscribers, assembly.facts, lambda: _container(app, request))
    await made.begin()
    return made


@pytest.fixture
def settle(jobs: Jobs, subscribers: Subscribers) -> Callable[[], Awaitable[None]]:
    """Makes all happen that follows from what was done: facts are heard and jobs run until nothing is left."""

    async def settled() -> None:
        while await subscribers.settle() + await jobs.settle():
            pass

    return settled


def _container(app: Fortress, request: pytest.FixtureRequest) -> Container:
    if "services" in request.fixturenames:
        found: Container = request.getfixturevalue("services")
        return found
    assert app.runtime is not None, "it is that of `services` or of `running`"
    return app.runtime.container


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[None]:
    """Nothing in the tests' own process reaches further than this machine; a project that must overrides this fixture."""
    with loopback_only():
        yield


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis database for tests; the test is skipped where none answers."""
    if not answers(*REDIS):
        pytest.skip("no Redis answers on 127.0.0.1:6379")
    return REDIS_URL


@contextmanager
def template_of(app: Fortress, databases: Databases, state: Path) -> Iterator[str]:
    """The name of a database with the app's schema, an administrator and its demo data, for as long as the block lasts.

    The key ring by which its personal data can be read is put into the folder `state`.
    """

    async def migrate(url: str) -> None:
        await app.prepare(_settings(url, state), lambda _line: None)

    name = asyncio.run(databases.template(migrate))
    yield name
    asyncio.run(databases.drop(name))


def _with_keys(state: Path, of: Path) -> Path:
    """The state folder, with a copy of the other one's key ring that a test may change."""
    shutil.copy(of / DEVELOPMENT_FILE, state)
    return state


def _settings(url: str, state: Path, **more: Any) -> Settings:
    return Settings(
        state_dir=state,
        database_url=SecretStr(url),
        database_owner_url=SecretStr(url),
        database_readers=4,
        database_writers=4,
        admin_email=ADMIN,
        admin_password=SecretStr(ADMIN_PASSWORD),
        argon2_memory=12_288,
        argon2_time=1,
        limit_store="memory",
        # A test hears facts and runs jobs when it wants to: `await settle()`.
        worker="apart",
        log_level="warning",
        **more,
    )
