"""The built-in domains on a real PostgreSQL, assembled without HTTP; time stands still until a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest

from fortress.background import Background
from fortress.bootstrap.assembly import Assembly
from fortress.bootstrap.container import Container
from fortress.bootstrap.runtime import mail_templates
from fortress.clock import Clock, FixedClock, Ids, TimeOrderedIds
from fortress.data import Database
from fortress.data.migration import Migrations
from fortress.data.partitions import Partitions, partitioned
from fortress.data.roles import APP_ROLE, AppRole
from fortress.domains import standard
from fortress.domains.access.service import AccessService
from fortress.domains.identity.service import AccountService
from fortress.domains.identity.service.accounts import SignUpWish
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.signing_in import SignInService
from fortress.domains.identity.service.starting import Device
from fortress.domains.notifications.service import Sender
from fortress.events.following import FactKinds
from fortress.limits.limiter import Limiter
from fortress.limits.memory import MemoryStore
from fortress.mail import Kinds, Mail, Mailer, Templates
from fortress.security import SYSTEM, Method, PermissionTable, Principal, Reach
from fortress.security.callers import CallerCache
from fortress.security.hashing import PasswordHasher
from fortress.security.keyfile import open_keyring
from fortress.security.keys import KeyRing
from fortress.security.leaked import LeakedPasswords
from fortress.security.passwords import PasswordPolicy, packaged_common_passwords
from fortress.security.refresh import RefreshTokens
from fortress.security.tokens import AccessTokens
from fortress.security.wrapping import RingWrapping
from fortress.settings import Settings
from fortress.telemetry.metrics import Metrics
from fortress.testing.databases import Databases
from fortress.testing.jobs import Jobs
from fortress.testing.servers import server_names, server_url

T = TypeVar("T")
TABLES = (
    "users",
    "sessions",
    "api_keys",
    "identities",
    "provider_flows",
    "role_holders",
    "custom_roles",
    "audit_seals",
    "audit_log",
    "events",
    "data_keys",
    "index_keys",
    "authenticators",
    "recovery_codes",
    "passkeys",
    "challenges",
    "mailed_tokens",
    "email_changes",
    "known_devices",
    "notifications",
    "notification_marks",
    "notification_settings",
    "webhooks",
    "subscriber_lanes",
    "webhook_deliveries",
    "procrastinate_jobs",
)
NOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
PASSWORD = "four stout walls and a moat"
EVERYWHERE = Device("192.0.2.7", "a test")


class Letters(Mailer):
    """Keeps every mail."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail)


class World:
    """Everything that the domains need, and the shortest ways to make what a test needs."""

    def __init__(
        self, database: Database, settings: Settings, clock: FixedClock, ring: KeyRing, owner: asyncpg.Connection[asyncpg.Record]
    ) -> None:
        self.database, self.settings, self.clock, self.owner = database, settings, clock, owner
        self.ids = TimeOrderedIds(clock)
        self.letters = Letters()
        self.background = Background()
        self.metrics = Metrics()
        self.callers = CallerCache(1000)
        self.ring = ring
        self.hasher = PasswordHasher(8, 1, threads=2, queue=500)
        assembly = self.assembly = Assembly(standard, current=1)
        database.declare(assembly.declared_facts)
        self.permissions = assembly.permissions
        self.container = Container(self._parts(), assembly.classes, assembly.doors)

    def _parts(self) -> dict[type[Any], Any]:
        tokens = AccessTokens(self.ring, self.clock, issuer="test", audience="test", lifetime=timedelta(minutes=10))
        return {
            Settings: self.settings,
            Clock: self.clock,
            Ids: self.ids,
            Database: self.database,
            KeyRing: self.ring,
            PasswordHasher: self.hasher,
            PasswordPolicy: PasswordPolicy(self.settings.password_min, ["Fortress"], packaged_common_passwords()),
            AccessTokens: tokens,
            RefreshTokens: RefreshTokens(self.ring),
            PermissionTable: self.permissions,
            CallerCache: self.callers,
            Background: self.background,
            Mailer: self.letters,
            Metrics: self.metrics,
            Kinds: self.assembly.kinds,
            FactKinds: self.assembly.facts,
            Templates: mail_templates(self.assembly, self.settings, None),
            Limiter: Limiter(MemoryStore(self.clock), self.clock, 1.0, 1),
            LeakedPasswords: LeakedPasswords(),
        }

    def get(self, kind: type[T]) -> T:
        return self.container.get(kind)

    async def somebody(self, email: str = "ann@example.com", *roles: str) -> UUID:
        """A person who has signed up, with these roles beside the usual ones; their mail has been sent."""
        user = await self.get(AccountService).sign_up(SignUpWish(email, PASSWORD, None))
        await self.posted()
        if roles:
            access = self.get(AccessService)
            await access.replace_roles(user.id, [*access.given_to_everyone(), *roles], SYSTEM)
        return user.id

    async def posted(self) -> None:
        """Wait until all that was begun beside the requests is done, and send every mail that waits: no worker runs here."""
        await self.background.finish(2)
        await Jobs([job for job in self.assembly.jobs if job.name.startswith("identity.")], lambda: self.container).settle()
        for row in await self.owner.fetch("SELECT id, created_at FROM notifications WHERE mail = 'waiting' ORDER BY created_at, id"):
            await self.get(Sender).send(row["id"], row["created_at"])

    async def signed_in(self, email: str = "ann@example.com") -> TokenPair:
        return await self.get(SignInService).by_password(email, PASSWORD, EVERYWHERE)

    def claims(self, pair: TokenPair) -> tuple[UUID, UUID]:
        """Whose pair it is, and of which session."""
        claims = self.get(AccessTokens).verify(pair.access_token)
        return claims.user, claims.session

    async def caller(self, user: UUID, session: UUID | None = None) -> Principal:
        """The principal that the gate would make of this person on a route that they may use without bounds."""
        roles = await self.get(AccessService).roles_of(user)
        return Principal(user, Method.SESSION, self.permissions.grants_of(roles, Method.SESSION), Reach.ANY, session)

    async def settled(self) -> None:
        """Wait until no transaction that could still write below the last audit row runs in this server, in whatever database."""
        async with asyncio.timeout(50):
            while not await self._settled():  # noqa: ASYNC110 - other databases' transactions tell nobody when they end
                await asyncio.sleep(0.01)

    async def _settled(self) -> bool:
        return bool(await self.owner.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot()) > max(tx) FROM audit_log"))

    async def audited(self) -> list[str]:
        """The actions in the log, in their order."""
        return [row["action"] for row in await self.owner.fetch("SELECT action FROM audit_log ORDER BY tx, seq")]


@pytest.fixture(scope="session", params=server_names()[:1])
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """One server: what differs between them is the data layer's, whose own suites, the events' and the shop's run on all."""
    with server_url(request.param, request.config.rootpath) as url:
        yield url


@pytest.fixture(scope="session")
def domains_url(databases: Databases) -> Iterator[str]:
    """A database at head, made by the real migrations."""

    async def migrate(url: str) -> None:
        assembly = Assembly(standard, current=1)
        partitions = Partitions(partitioned(assembly.tables()), FixedClock(NOON), ahead=1)
        await Migrations(url, assembly.branches(), partitions=partitions, role=AppRole()).up()

    with databases.kept(migrate) as url:
        yield url


@pytest.fixture
async def owner(domains_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The database owner's own connection; every table is empty when it is given."""
    connection = await asyncpg.connect(domains_url)
    # Quicker than TRUNCATE, which makes every file of every partition anew.
    await connection.execute("".join(f"DELETE FROM {table};" for table in TABLES))
    yield connection
    await connection.close()


@pytest.fixture
async def database(
    domains_url: str, owner: asyncpg.Connection[asyncpg.Record], clock: FixedClock, ring: KeyRing
) -> AsyncIterator[Database]:
    settings = Settings.model_validate({"database_wait": 10.0})
    shared: dict[str, Any] = {"clock": clock, "ids": TimeOrderedIds(clock), "wrapping": RingWrapping(ring)}
    async with Database(domains_url, settings, secret=bytes(32), role=APP_ROLE, **shared) as made:
        yield made


@pytest.fixture
def ring(tmp_path: Path, clock: FixedClock) -> KeyRing:
    return open_keyring(Settings(state_dir=tmp_path), clock)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture
async def world(
    database: Database, clock: FixedClock, ring: KeyRing, owner: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> AsyncIterator[World]:
    made = World(database, Settings(state_dir=tmp_path), clock, ring, owner)
    # As a server does when it starts.
    await database.personal.indexes.ready(made.assembly.index_purposes())
    yield made
    await made.background.finish(1)
    made.hasher.close()
    made.metrics.close()
