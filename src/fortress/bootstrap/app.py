"""The public surface: a whole backend as one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from fortress import failpoints
from fortress.bootstrap.assembly import Assembly, SetLimit
from fortress.bootstrap.describing import described
from fortress.bootstrap.runtime import Replacements, Runtime, mail_templates
from fortress.clock import Clock, Ids, SystemClock, TimeOrderedIds
from fortress.data.migration import Migrations
from fortress.data.partitions import Partitions, partitioned
from fortress.data.roles import AppRole
from fortress.domain import Domain
from fortress.errors import CannotStart
from fortress.http.drain import DrainState
from fortress.http.identify import Scheme
from fortress.http.openapi import openapi_document
from fortress.http.problems import ErrorShape
from fortress.http.request import Receive, Scope, Send
from fortress.mail import Mailer
from fortress.security.directory import CallerDirectory
from fortress.security.verifiers import KeyVerifier, SessionVerifier
from fortress.settings import Settings, read_settings
from fortress.telemetry.board import Board
from fortress.telemetry.logs import Logs, configure_logging

Say = Callable[[str], None]
_log = structlog.get_logger("fortress.start")


class Fortress:
    """A whole backend: the domains it is made of, and what the project replaces.

    An ASGI application. Its parts are made when a server starts it, in that server's process.

    Args:
        domains: in the order in which their migrations run.
        title: as people see it.
        version: the newest API version; all from 1 on are served.
        errors: how errors look, when not as problem documents.
        schemes: how credentials are carried, when not as bearer tokens and API keys; given each verifier.
        limit: has the last word on any route's limit.
        mailer, clock, ids: stand in for ours.
        templates: folder of mail templates that go before the domains' own: `<domain>/<name>.<locale>.txt`, `layout.html`.

    Raises:
        CannotStart: two domains claim the same thing.
        BrokenRules: at start, everything that breaks a rule at once.
    """

    def __init__(
        self,
        *,
        domains: Sequence[Domain],
        title: str = "Fortress",
        version: int = 1,
        errors: ErrorShape | None = None,
        schemes: Callable[[SessionVerifier, KeyVerifier], Sequence[Scheme]] | None = None,
        limit: SetLimit | None = None,
        mailer: Mailer | None = None,
        templates: Path | str | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self.domains = tuple(domains)
        self.title = title
        self.version = version
        self._limit = limit
        self._clock = clock or SystemClock()
        self._replaced = Replacements(
            errors=errors,
            schemes=schemes,
            mailer=mailer,
            templates=Path(templates) if templates is not None else None,
            clock=self._clock,
            ids=ids or TimeOrderedIds(self._clock),
        )
        self._settings: Settings | None = None
        self._assembly: Assembly | None = None
        self._logs: Logs | None = None
        self._drain = DrainState()
        self._board = Board()
        self.runtime: Runtime | None = None

    def with_settings(self, settings: Settings, drain: DrainState | None = None) -> Fortress:
        """This app, run with these settings instead of those that it would read itself, in a process that drains so."""
        self._settings = settings
        self._drain = drain or DrainState()
        return self

    def assemble(self) -> Assembly:
        """What the domains add up to; made once. Raises BrokenRules."""
        if self._assembly is None:
            self._assembly = Assembly(self.domains, current=self.version, set_limit=self._limit)
        return self._assembly

    def check(self, settings: Settings) -> None:
        """Everything that must hold before a server starts; looked at once, before its processes are.

        Raises:
            CannotStart: naming it.
        """
        self._check_settings(settings)
        mail_templates(self.assemble(), settings, self._replaced.templates).check(self.assemble().kinds)

    def _check_settings(self, settings: Settings) -> None:
        assembly = self.assemble()
        assembly.provider_of(CallerDirectory)
        failpoints.check(settings.failpoint)
        exposed = not (settings.tls_cert or settings.trusted_proxies or settings.host in ("127.0.0.1", "::1", "localhost"))
        if settings.production and exposed:
            raise CannotStart(
                f"plain HTTP on {settings.host} would be open to all (SEC001)",
                hint="set FORTRESS_TLS_CERT and FORTRESS_TLS_KEY, or name the proxy in FORTRESS_TRUSTED_PROXIES",
            )

    def document(self, version: int) -> dict[str, Any]:
        """The OpenAPI document of a version, without a server: what `fortress openapi` freezes and compares."""
        return openapi_document(described(self.assemble(), self._clock), version=version, title=self.title, server="")

    def migrations(self, settings: Settings, say: Say) -> Migrations:
        """The migrations of every domain, on the owner's connection."""
        owner = settings.database_owner_url or settings.database_url
        if owner is None:
            raise CannotStart("no database is set", hint="FORTRESS_DATABASE_URL")
        branches = self.assemble().branches()
        return Migrations(
            owner.get_secret_value(),
            branches,
            partitions=Partitions(partitioned(self.assemble().tables()), self._clock, ahead=settings.partitions_ahead),
            role=AppRole(_login(settings)),
            say=say,
        )

    def share_metrics(self, workers: int) -> None:
        """Before the workers are forked: let each of them show the sum of all."""
        self._board = Board.for_workers(workers)

    async def prepare(self, settings: Settings, say: Say) -> str | None:
        """In development: schema at head, an administrator, demo data. Production does these steps itself, on purpose.

        Returns:
            The administrator's password, when one was made just now.

        Raises:
            CannotStart: keys or database can't be used, or the database is of a newer release; said once, before any worker is.
        """
        if not settings.production:
            await self.migrations(settings, say).up()
        async with self.opened(settings) as runtime:
            await runtime.refuse_foreign_database()
            return None if settings.production else await self._furnish(runtime, settings)

    @asynccontextmanager
    async def opened(self, settings: Settings) -> AsyncIterator[Runtime]:
        """The parts that services need, without serving; for commands."""
        runtime = self._runtime(settings)
        try:
            await runtime.open()
            yield runtime
        finally:
            await runtime.close()

    @asynccontextmanager
    async def working(self, settings: Settings) -> AsyncIterator[Runtime]:
        """Run jobs, without serving, for as long as the block lasts. Raises CannotStart."""
        runtime = self._runtime(settings)
        await runtime.start_working()
        try:
            yield runtime
        finally:
            await runtime.close()

    async def _furnish(self, runtime: Runtime, settings: Settings) -> str | None:
        for domain in self.domains:
            if domain.demo is not None:
                await runtime.container.bind(domain.demo)()
        return await runtime.ensure_administrator(settings.administrator)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self.runtime is None:
                raise CannotStart("a request came before the start", hint="serve it with the ASGI lifespan on")
            await self.runtime.edge(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def start(self) -> Runtime:
        """Make every part and begin to work; for servers and tests."""
        settings = self._settings or read_settings()
        self._check_settings(settings)
        runtime = self._runtime(settings)
        await runtime.start()
        self.runtime = runtime
        return runtime

    async def stop(self) -> None:
        """End what `start` began."""
        if self.runtime is not None:
            await self.runtime.close()
            self.runtime = None

    def _runtime(self, settings: Settings) -> Runtime:
        if self._logs is None:
            self._logs = configure_logging(settings, clock=self._clock)
        return Runtime(self.assemble(), settings, self._replaced, title=self.title, logs=self._logs, drain=self._drain, board=self._board)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except CannotStart as error:
                    await send({"type": "lifespan.startup.failed", "message": error.problem})
                    raise
                except Exception:
                    # The server would go on without us, and say nothing of why.
                    _log.critical("start.failed", exc_info=True)
                    await send({"type": "lifespan.startup.failed", "message": "the start failed; the log says why"})
                    raise
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _login(settings: Settings) -> str | None:
    """The role of the app's URL, when it is not the owner's."""
    app, owner = settings.database_url, settings.database_owner_url
    if app is None or owner is None or app == owner:
        return None
    return urlsplit(app.get_secret_value()).username
