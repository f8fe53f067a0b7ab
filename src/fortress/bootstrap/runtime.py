"""The parts of one running process: made in order, started, and ended in the opposite order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
from pydantic import SecretStr

from fortress import failpoints
from fortress.background import Background
from fortress.bootstrap.assembly import Assembly
from fortress.bootstrap.caching import open_caching
from fortress.bootstrap.container import Container
from fortress.bootstrap.following import facts_heralded, facts_tailed, subscribers_at_work
from fortress.bootstrap.limiting import keep_sweeping, limit_store
from fortress.bootstrap.partitioning import PARTITION_SECONDS, partition_upkeep
from fortress.bootstrap.readiness import checks
from fortress.bootstrap.relaying import facts_exchanged, facts_sent
from fortress.bootstrap.upkeep import Task, Upkeeper
from fortress.bootstrap.working import jobs_at_work
from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.data.migration.schema import SchemaState
from fortress.data.partitions import Partitions, partitioned
from fortress.data.roles import APP_ROLE, may_rewrite_audit
from fortress.domain import PersonalRecords, PersonalRegister
from fortress.domains.access.contract import ADMINISTRATOR
from fortress.errors import CannotStart
from fortress.events.following import FactKinds, FactLog, FactTail, Herald, logs_of
from fortress.events.following.watch import LogWatch
from fortress.events.jobs.keeping import KEEP_SECONDS, Keeping
from fortress.events.jobs.watch import QueueWatch
from fortress.http.addresses import TrustedProxies
from fortress.http.cookies import SessionCookies
from fortress.http.csrf import Csrf
from fortress.http.docs import ApiDocuments
from fortress.http.drain import DrainState
from fortress.http.edge import Edge, HostNames
from fortress.http.gate import Gate
from fortress.http.health import MetricsDoor, Readiness
from fortress.http.identify import Bearer, Cookie, HeaderKey, Identify, Scheme
from fortress.http.inflight import InFlight
from fortress.http.problems import ErrorShape, Problems
from fortress.http.replays import Replays
from fortress.http.report import Reporter
from fortress.http.table import RouteTable
from fortress.limits.limiter import Limiter
from fortress.mail import OUTBOX, DirectoryMailer, Kinds, Mailer, SmtpMailer, Templates
from fortress.security.callers import CallerCache
from fortress.security.directory import AdministratorKeeper, CallerDirectory
from fortress.security.hashing import PasswordHasher
from fortress.security.keyfile import open_keyring
from fortress.security.keys import KeyRing
from fortress.security.leaked import LeakedPasswords
from fortress.security.leaked_range import RangeService, require_httpx
from fortress.security.outsiders import Outsiders
from fortress.security.passwords import PasswordPolicy, packaged_common_passwords
from fortress.security.permissions import PermissionTable
from fortress.security.refresh import RefreshTokens
from fortress.security.tokens import AccessTokens
from fortress.security.uses import UseKeeper, Uses
from fortress.security.verifiers import KeyVerifier, SessionVerifier, forget
from fortress.security.wrapping import Unreadable, Wrapping
from fortress.security.wrappings import open_wrapping
from fortress.settings import Settings
from fortress.telemetry.board import Board
from fortress.telemetry.logs import Logs
from fortress.telemetry.loop import LoopWatch
from fortress.telemetry.metrics import Metrics

T = TypeVar("T")

CALLERS_REMEMBERED: Final = 20_000
GRACE_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0


class Replacements(msgspec.Struct, frozen=True):
    """What a project puts in the place of ours."""

    errors: ErrorShape | None
    schemes: Callable[[SessionVerifier, KeyVerifier], Sequence[Scheme]] | None
    mailer: Mailer | None
    templates: Path | None
    clock: Clock
    ids: Ids


class Runtime:
    """Everything that one process is made of.

    Attributes:
        container: gives services by their types; there after `open`.
        edge: the ASGI application for requests; there after `start`.
    """

    container: Container
    edge: Edge

    def __init__(
        self, assembly: Assembly, settings: Settings, replaced: Replacements, *, title: str, logs: Logs, drain: DrainState, board: Board
    ) -> None:
        self.assembly = assembly
        self.settings = settings
        self.permissions = assembly.permissions
        if settings.administrators_prove_two:
            self.permissions = self.permissions.asking_second_factor_of(ADMINISTRATOR)
        self._drain = drain
        self._board = board
        self._title = title
        self._logs = logs
        self._replaced = replaced
        self._clock, self._ids = replaced.clock, replaced.ids
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Make what services need: keys, database, hashing. Raises CannotStart."""
        settings = self.settings
        self._stack.callback(self._logs.close)
        self._logs.hide(self.assembly.personal_names())
        self.ring = open_keyring(settings, self._clock)
        self.wrapping = await self._stack.enter_async_context(open_wrapping(settings, self.ring))
        self.metrics = Metrics(self._board)
        self._stack.callback(self.metrics.close)
        self.callers = CallerCache(CALLERS_REMEMBERED)
        self.hasher = PasswordHasher.from_settings(settings)
        self._stack.callback(self.hasher.close)
        self.background = Background()
        self._stack.push_async_callback(self.background.finish, GRACE_SECONDS)
        self.metrics.watch_hashing(self.hasher)
        self.database = await self._stack.enter_async_context(await self._database())
        self.database.declare(self.assembly.declared_facts)
        for pool in (self.database.readers, self.database.writers):
            self.metrics.watch_pool(pool)
        personal = self.database.personal
        self.metrics.tally("unreadable_total", "Times that something personal could not be read.", lambda: personal.unreadable)
        self._store = await self._stack.enter_async_context(limit_store(settings, self.database, self._clock))
        self.limiter = self._limiter()
        self._stack.push_async_callback(self.limiter.close)
        caching = open_caching(
            self.assembly,
            settings,
            self.database,
            self.metrics,
            ring=self.ring,
            clock=self._clock,
            ids=self._ids,
            background=self.background,
        )
        self.caching = await self._stack.enter_async_context(caching)
        self.container = Container(self._parts(), self.assembly.classes, self.assembly.doors, made=self.caching.caches.adopt)
        self.container.add(PersonalRegister, PersonalRegister(self._personal_records))

    async def start(self) -> None:
        """Open, and begin to serve. Raises CannotStart."""
        try:
            await self.open()
            self._arm()
            await self._serve()
        except BaseException:
            await self.close()
            raise

    async def start_working(self) -> None:
        """Open, and begin to work without serving. Raises CannotStart."""
        try:
            await self.open()
            await self.require_schema()
            self._arm()
            await self._work(self._bus())
        except BaseException:
            await self.close()
            raise

    def _arm(self) -> None:
        """From here on and until the end the failpoints of the setting are on: in who serves, not in commands."""
        failpoints.arm(self.settings.failpoint)
        self._stack.callback(failpoints.disarm)

    async def close(self) -> None:
        """End what runs and close what is open, newest first."""
        await self._stack.aclose()

    async def refuse_foreign_database(self) -> None:
        """Raises CannotStart when a newer release has gone further than this one can follow, or another key ring has its keys."""
        schema = self.assembly.schema()
        connection = await self._connect()
        try:
            state = await schema.state(connection)
            if state is SchemaState.AHEAD:
                await schema.require(connection)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
        if state is SchemaState.AT_HEAD:
            await self._refuse_foreign_keys()

    async def _refuse_foreign_keys(self) -> None:
        try:
            # All of them, so that no unit of work waits for a first key while it keeps the connections that making one needs.
            await self.database.personal.indexes.ready(self.assembly.index_purposes())
        except Unreadable:
            raise CannotStart(
                "what is personal in this database was encrypted under another key ring",
                hint="bring back the ring that it was made with (FORTRESS_KEYRING names it), or begin with a new database",
            ) from None

    async def require_schema(self) -> None:
        """Raises CannotStart when the database is not this release's: behind it, or gone further than it can follow."""
        connection = await self._connect()
        try:
            await self.assembly.schema().require(connection)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)

    async def ensure_administrator(self, email: str) -> str | None:
        """Have somebody who may do everything; gives the password when one was made up just now."""
        password = self.settings.admin_password
        given = password.get_secret_value() if password else None
        return await self.provider(AdministratorKeeper).ensure_administrator(email, given)

    def provider(self, port: type[T]) -> T:
        """The service that does what a port of the runtime asks for."""
        found: T = self.container.get(self.assembly.provider_of(port))
        return found

    def _personal_records(self) -> dict[str, PersonalRecords]:
        return {one.name: self.container.get(one.personal) for one in self.assembly.domains if one.personal is not None}

    async def _database(self) -> Database:
        connection = await self._connect()
        try:
            role = APP_ROLE if await connection.fetchval(_MAY_BECOME, APP_ROLE) else None
            if role:
                await connection.execute(f'SET ROLE "{role}"')
            if await may_rewrite_audit(connection):
                raise CannotStart(
                    "the role of FORTRESS_DATABASE_URL may change the audit log",
                    hint="fortress migrate up makes the role fortress_app; the URL's role must be able to become it",
                )
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
        return Database(
            _text(self.settings.database_url),
            self.settings,
            secret=self.ring.secret("cursor").material.reveal(),
            clock=self._clock,
            ids=self._ids,
            role=role,
            observer=self.metrics,
            wrapping=self.wrapping,
        )

    async def _connect(self) -> asyncpg.Connection[Any]:
        """A connection beside the pools: for listening, for locks, for a look at the start."""
        try:
            return await asyncpg.connect(_text(self.settings.database_url), timeout=CONNECT_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
            said = type(error).__name__
            raise CannotStart(f"the database can't be reached ({said})", hint="is FORTRESS_DATABASE_URL right?") from None

    def _parts(self) -> dict[type[Any], Any]:
        settings, clock = self.settings, self._clock
        issuer = settings.issuer or settings.origin
        tokens = AccessTokens(self.ring, clock, issuer=issuer, audience=issuer, lifetime=timedelta(minutes=settings.access_minutes))
        policy = PasswordPolicy(settings.password_min, [settings.site, self._title], packaged_common_passwords())
        return {
            Settings: settings,
            Clock: clock,
            Ids: self._ids,
            Database: self.database,
            KeyRing: self.ring,
            Wrapping: self.wrapping,
            PasswordHasher: self.hasher,
            PasswordPolicy: policy,
            AccessTokens: tokens,
            RefreshTokens: RefreshTokens(self.ring),
            PermissionTable: self.permissions,
            CallerCache: self.callers,
            Background: self.background,
            Mailer: self._mailer(),
            Kinds: self.assembly.kinds,
            FactKinds: self.assembly.facts,
            Templates: mail_templates(self.assembly, settings, self._replaced.templates),
            Limiter: self.limiter,
            LeakedPasswords: LeakedPasswords(self._leak_service()),
            Metrics: self.metrics,
            Replays: Replays(self.database, self.ring, settings, clock, self._ids),
            FactTail: FactTail(self.database, self._drain.draining),
            SessionCookies: SessionCookies(settings),
            Csrf: Csrf(self.ring, settings),
        }

    def _mailer(self) -> Mailer:
        settings = self.settings
        if self._replaced.mailer is not None:
            return self._replaced.mailer
        if settings.mail_url is None:
            return DirectoryMailer(settings.state_dir / OUTBOX, settings.mail_from, self._ids)
        return SmtpMailer(settings.mail_url.get_secret_value(), settings.mail_from)

    def _leak_service(self) -> RangeService | None:
        url = self.settings.breached_url
        if not url:
            return None
        require_httpx()
        service = RangeService(url, self._clock)
        self._stack.push_async_callback(service.close)
        return service

    async def _serve(self) -> None:
        bus = self._bus()
        self._begin(keep_sweeping(self._store))
        documents = ApiDocuments(self._title, self.settings.origin, self.assembly.current)
        self.container.add(ApiDocuments, documents)
        self.container.add(Readiness, Readiness(checks(self.database, self.assembly.schema(), self._drain.draining), self._clock))
        self.container.add(MetricsDoor, MetricsDoor(self.metrics, _text(self.settings.metrics_token) or None))
        table = self._table()
        documents.describe(table.endpoints)
        self.edge = self._edge(table, Identify(self._schemes(bus), self._outsiders()), self.limiter)
        watch = LoopWatch(self.metrics, self._clock)
        watch.start()
        self._stack.callback(watch.stop)
        self._begin(self.metrics.keep_sampling())
        self._begin(QueueWatch(self.database, self.metrics).run())
        self._begin(LogWatch(self.database, self._logs_followed, self.metrics).run())
        self._keep_up()
        await self._stack.enter_async_context(facts_tailed(self.container.get(FactTail), bus, self.metrics))
        if self.settings.worker == "inside":
            await self._work(bus)
        else:
            await self._herald(bus)
            await self._listen(bus)

    def _table(self) -> RouteTable:
        return RouteTable(
            self.assembly.routes,
            current=self.assembly.current,
            permissions=self.assembly.permissions,
            provide=self.container.get,
            measure=self.metrics.route,
            max_body=self.settings.max_body,
            passages=self.assembly.passages,
            clock=self._clock,
        )

    def _edge(self, table: RouteTable, identify: Identify, limiter: Limiter) -> Edge:
        settings = self.settings
        inflight = InFlight(self._clock, settings.request_timeout)
        self._begin(inflight.watch())
        gate = Gate(
            identify=identify,
            limiter=limiter,
            shape=self._replaced.errors or Problems(),
            report=Reporter(self._logs.access_line, self.metrics.refused),
            uses=self._uses(),
            clock=self._clock,
            inflight=inflight,
            draining=self._drain.draining,
        )
        return Edge(
            table=table,
            gate=gate,
            inflight=inflight,
            hosts=HostNames(settings.allowed_hosts),
            proxies=TrustedProxies(settings.trusted_proxies),
            max_head=settings.max_head,
            max_body=settings.max_body,
            body_timeout=settings.body_timeout,
        )

    def _uses(self) -> Uses:
        uses = Uses(self.assembly.permissions, self._clock)
        self._begin(uses.keep_flushing(self.provider(UseKeeper)))
        return uses

    async def _work(self, bus: Bus) -> None:
        """Begin to follow the log, to exchange facts and to run jobs. The bus is started before the first and stopped after the last."""
        draining = self._drain.draining
        herald = await self._herald(bus)
        await self._stack.enter_async_context(subscribers_at_work(self._logs_followed, self.assembly.facts, self.container, bus, draining))
        await self._stack.enter_async_context(facts_exchanged(self.assembly, self.container, bus, herald))
        await self._stack.enter_async_context(jobs_at_work(self.assembly.jobs, self.container, bus, draining))
        await self._listen(bus)

    async def _herald(self, bus: Bus) -> Herald:
        logs, relayed = self._logs_followed, facts_sent(self.assembly, self.settings)
        return await self._stack.enter_async_context(facts_heralded(self.database, logs, bus, relayed))

    @property
    def _logs_followed(self) -> list[FactLog]:
        return logs_of(self.assembly.subscribers, self.assembly.facts)

    async def _listen(self, bus: Bus) -> None:
        await bus.start()
        self._stack.push_async_callback(bus.stop)

    def _bus(self) -> Bus:
        bus = Bus(self._connect, self._clock)
        bus.on("revoked", lambda rest: forget(self.callers, *rest.partition(":")[::2]))
        bus.on_lost(self.callers.clear)
        self.database.personal.follow(bus)
        self.caching.follow(bus)
        return bus

    def _schemes(self, bus: Bus) -> Sequence[Scheme]:
        directory = self.provider(CallerDirectory)
        permissions, callers = self.permissions, self.callers
        tokens = self.container.get(AccessTokens)
        sessions = SessionVerifier(tokens, directory, permissions, callers, bus.certain, self._clock)
        keys = KeyVerifier(directory, permissions, callers, bus.certain, self._clock, self.background)
        if self._replaced.schemes is not None:
            return self._replaced.schemes(sessions, keys)
        return (Bearer(sessions), HeaderKey(keys), Cookie(sessions, self.container.get(SessionCookies), self.container.get(Csrf)))

    def _outsiders(self) -> Outsiders:
        return Outsiders(self.provider(CallerDirectory), self.background, self._clock)

    def _limiter(self) -> Limiter:
        settings = self.settings
        return Limiter(
            self._store,
            self._clock,
            settings.limit_store_timeout,
            settings.workers,
            pepper=self.ring.secret("limits").material.reveal(),
            observer=self.metrics,
        )

    def _keep_up(self) -> None:
        """Begin the repeated work: the domains' own, and the partitions where the owner's URL is at hand."""
        tasks = [
            Task(upkeep.name, upkeep.every(self.settings), self.container.bind(upkeep.run))
            for domain in self.assembly.domains
            for upkeep in domain.upkeep
        ]
        tasks.append(Task("jobs", KEEP_SECONDS, Keeping(self.database, self._clock, self.settings.jobs_keep_days).run))
        owner = self.settings.database_owner_url
        if owner is not None:
            months = Partitions(partitioned(self.assembly.tables()), self._clock, ahead=self.settings.partitions_ahead)
            tasks.append(Task("partitions", PARTITION_SECONDS, partition_upkeep(months, owner.get_secret_value(), self.metrics)))
        upkeeper = Upkeeper(self._connect, tasks)
        upkeeper.start()
        self._stack.push_async_callback(upkeeper.stop)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the requests until the end."""
        task = asyncio.create_task(work)
        self._stack.push_async_callback(_end, task)


def mail_templates(assembly: Assembly, settings: Settings, override: Path | None) -> Templates:
    """The mails' templates: the domains' own, and the project's in their place."""
    given = {"site": settings.site, "origin": settings.origin, "account_url": settings.account_url}
    return Templates(assembly.template_folders(), override, given)


_MAY_BECOME: Final = "SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $1"


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
