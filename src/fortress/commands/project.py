"""The project that a command works on: its app, its settings, its database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from fortress.commands.audit import AuditKeeper, Verdict
from fortress.data.embedded import EmbeddedServer
from fortress.settings import Settings, read_settings

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress
    from fortress.data.migration import Migrations

LoadApp = Callable[[str | None], "Fortress"]
Target = Annotated[
    str | None,
    typer.Argument(metavar="[MODULE:APP]", help="the project's app; unset: FORTRESS_APP, else the built-in domains alone"),
]

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

    @contextmanager
    def opened(self) -> Iterator[tuple[Fortress, Settings]]:
        """The app that is set, and settings with a database that answers."""
        with running_database(read_settings()) as settings:
            yield self.app(None, settings), settings
