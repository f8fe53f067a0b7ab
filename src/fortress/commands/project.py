"""The project that a command works on: its app, its settings, its database."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from fortress.data.embedded import EmbeddedServer
from fortress.errors import CannotStart
from fortress.settings import Settings, read_settings

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress
    from fortress.data.migration import Migrations

OF_THE_APP = "the project's app as module:name; unset: FORTRESS_APP, else the built-in domains alone"
Target = Annotated[str | None, typer.Argument(metavar="[MODULE:APP]", help=OF_THE_APP)]
TargetOption = Annotated[str | None, typer.Option("--app", metavar="MODULE:APP", help=OF_THE_APP)]

console = Console(highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """One line of progress, for people."""
    console.print(f"[dim]·[/] {line.replace('[', '[[]') if '[' in line else line}")


def load_app(target: str | None) -> Fortress:
    """The app called `module:name`.

    Raises:
        CannotStart: there is no such module or name, or it is not a Fortress.
    """
    from fortress.bootstrap import Fortress

    if target is None:
        from fortress.domains import standard

        return Fortress(domains=standard)
    module_name, _, name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise CannotStart(f"there is no module {module_name!r}", hint="run it where your project is, as module:app") from None
        raise
    app = getattr(module, name or "app", None)
    if not isinstance(app, Fortress):
        raise CannotStart(f"{target} is not a Fortress", hint="it should read: app = Fortress(domains=[…])")
    return app


@contextmanager
def running_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that answers: the one that is set, else the embedded one for as long as this lasts."""
    if settings.database_url is not None:
        yield settings
        return
    with EmbeddedServer(settings.state_dir / "postgres", say=say) as server:
        url = SecretStr(server.url())
        yield settings.model_copy(update={"database_url": url, "database_owner_url": url})


@contextmanager
def opened_migrations() -> Iterator[Migrations]:
    """The project's migrations, over a database that answers."""
    with project(None) as (app, settings):
        yield app.migrations(settings, say)


@contextmanager
def project(target: str | None) -> Iterator[tuple[Fortress, Settings]]:
    """The app and settings with a database, for a command that works on data."""
    with running_database(read_settings()) as settings:
        yield load_app(target or settings.app), settings
