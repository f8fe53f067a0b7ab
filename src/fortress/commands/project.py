"""The project that a command works on: its app, its settings, its database."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, Protocol, TypeVar

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from fortress import context
from fortress.clock import Clock
from fortress.commands.audit import AuditKeeper, Verdict
from fortress.data.embedded import EmbeddedServer
from fortress.errors import CannotStart, Invalid, Refusal
from fortress.events.following import logs_of
from fortress.events.following.desk import FactDesk
from fortress.events.jobs.desk import JobDesk
from fortress.settings import Settings, read_settings

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress
    from fortress.bootstrap.runtime import Runtime
    from fortress.data.migration import Migrations

P = TypeVar("P")
T = TypeVar("T")


class Find(Protocol):
    """Gives the service that does what a port asks for."""

    def __call__(self, port: type[P], /) -> P: ...


class Ask(Protocol):
    """Does some work with the services of the project, over its database."""

    def __call__(self, work: Callable[[Find], Awaitable[T]], /) -> T: ...


LoadApp = Callable[[str | None], "Fortress"]
Target = Annotated[
    str | None,
    typer.Argument(metavar="[MODULE:APP]", help="the project's app; unset: FORTRESS_APP, else the built-in domains alone"),
]

_HINTS: Final = {
    "users.not_found": "fortress user list shows who there is",
    "roles.not_found": "fortress role list shows which there are",
    "roles.declared": "change it where it is declared: its domain's policy.py",
    "roles.held": "take it from them first: fortress role assign USER --take ROLE",
    "access.last_administrator": "make somebody else one first: fortress role assign USER admin",
    "permissions.not_found": "fortress role permissions shows which there are",
    "jobs.not_found": "fortress jobs list shows which there are",
    "jobs.not_revivable": "fortress jobs show ID tells how it stands",
    "subscribers.not_found": "fortress events subscribers shows which there are",
    "events.not_found": "fortress events tail shows their ids",
    "subscribers.declared": "fortress events reset SUBSCRIBER --now has it begin at the present",
    "request.stale_version": "try again",
}

console = Console(highlight=False, soft_wrap=True)
_progress = Console(stderr=True, highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """One line of progress, for people; what scripts read stays clean."""
    _progress.print(f"[dim]·[/] {escape(line)}")


@contextmanager
def running_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that answers: the one that is set, else the embedded one for as long as this lasts."""
    if settings.database_url is not None:
        yield settings
        return
    with EmbeddedServer(settings.state_dir / "postgres", say=say) as server:
        url = SecretStr(server.url())
        yield settings.model_copy(update={"database_url": url, "database_owner_url": url})


class Project:
    """What `fortress` was called for.

    Args:
        load: gives the app called `module:name`; None: the built-in domains alone.
    """

    def __init__(self, load: LoadApp) -> None:
        self._load = load

    def app(self, target: str | None, settings: Settings) -> Fortress:
        """The app that is asked for, else the one that is set."""
        return self._load(target or settings.app)

    @contextmanager
    def migrations(self) -> Iterator[Migrations]:
        """The migrations of the app that is set, over a database that answers."""
        with self.opened() as (app, settings):
            yield app.migrations(settings, say)

    def verify_audit_log(self) -> Verdict:
        """What the keeper of the audit log finds."""

        async def verify(app: Fortress, settings: Settings) -> Verdict:
            async with app.opened(settings) as runtime:
                return await runtime.provider(AuditKeeper).verify_audit_log()

        with self.opened() as (app, settings):
            return asyncio.run(verify(app, settings))

    def ask(self, work: Callable[[Find], Awaitable[T]], /) -> T:
        """What `work` gives, done as the operator at this shell.

        Raises:
            CannotStart: the database is not of this release, or a service refused; says why.
        """
        return self._with_runtime(lambda runtime: work(runtime.provider))

    def at_desk(self, work: Callable[[JobDesk], Awaitable[T]], /) -> T:
        """What `work` gives, done at the desk of the project's jobs as the operator at this shell. Raises CannotStart, as `ask`."""
        return self._with_runtime(lambda runtime: work(JobDesk(runtime.database, [job.name for job in runtime.assembly.jobs])))

    def at_log(self, work: Callable[[FactDesk], Awaitable[T]], /) -> T:
        """The same at the desk of its facts and subscribers."""

        def made(runtime: Runtime) -> FactDesk:
            return FactDesk(runtime.database, runtime.container.get(Clock), logs_of(runtime.assembly.subscribers, runtime.assembly.facts))

        return self._with_runtime(lambda runtime: work(made(runtime)))

    def _with_runtime(self, work: Callable[[Runtime], Awaitable[T]]) -> T:
        async def run(app: Fortress, settings: Settings) -> T:
            context.operator.set(operator())
            async with app.opened(settings) as runtime:
                await runtime.require_schema()
                return await work(runtime)

        with self.opened() as (app, settings):
            try:
                return asyncio.run(run(app, settings))
            except Refusal as refusal:
                raise CannotStart(said(refusal), hint=_HINTS.get(refusal.code, "")) from None

    @contextmanager
    def opened(self) -> Iterator[tuple[Fortress, Settings]]:
        """The app that is set, and settings with a database that answers."""
        with running_database(read_settings()) as settings:
            yield self.app(None, settings), settings


def operator() -> str:
    """Whose process this is, as the operating system says it."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def said(refusal: Refusal) -> str:
    """A refusal in one line."""
    if not isinstance(refusal, Invalid):
        return refusal.detail
    return "; ".join(f"{error.field.lstrip('/')}: {error.message}" for error in refusal.errors)
