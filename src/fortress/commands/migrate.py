"""`fortress migrate`: take the schema up and down, say where it is, draft and check migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
import typer

from fortress.data.migration.names import HEAD, Phase
from fortress.errors import BrokenRules, CannotStart

if TYPE_CHECKING:
    # Alembic takes a while to load, and most commands don't need it.
    from fortress.data.migration.migrator import BranchStatus, Migrations

T = TypeVar("T")
OpenMigrations = Callable[[], "AbstractContextManager[Migrations]"]

Pre = Annotated[bool, typer.Option("--pre", help="what runs before the new code")]
Post = Annotated[bool, typer.Option("--post", help="what runs once no instance of the old code is left")]
_BEHIND: Final = 3


class MigrateCommands:
    """The group's commands.

    Args:
        opened: gives the project's migrations for as long as a command runs; the embedded server, if any, runs meanwhile.
    """

    def __init__(self, opened: OpenMigrations) -> None:
        self._opened = opened

    def up(
        self,
        to: Annotated[str, typer.Argument(help="stop this revision's branch there")] = HEAD,
        *,
        pre: Pre = False,
        post: Post = False,
    ) -> None:
        """Apply what is pending, make partitions ahead, put grants right."""
        phase = _phase(pre=pre, post=post)
        with self._opened() as migrations:
            applied = _run(migrations.up(to, phase))
        typer.echo(_counted(len(applied), "applied"))

    def down(
        self,
        branch: Annotated[str, typer.Argument(help="the domain")],
        steps: Annotated[int, typer.Argument(min=1, help="how many")] = 1,
        *,
        yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False,
    ) -> None:
        """Take back a branch's last migrations, and the data that they made room for."""
        if not yes:
            typer.confirm(f"Take back {steps} of {branch}? What they hold is lost", abort=True)
        with self._opened() as migrations:
            gone = _run(migrations.down(branch, steps))
        typer.echo(_counted(len(gone), "taken back"))

    def status(self, *, as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
        """Where each branch is. Exits with 3 when something is pending."""
        with self._opened() as migrations:
            branches = _run(migrations.status())
        if as_json:
            typer.echo(msgspec.json.encode(branches).decode())
        else:
            for branch in branches:
                typer.echo(_line(branch))
        if any(branch.pending for branch in branches):
            raise typer.Exit(_BEHIND)

    def new(
        self,
        domain: Annotated[str, typer.Argument(help="whose models changed")],
        words: Annotated[list[str], typer.Argument(help="what it does, in a few words")],
        *,
        pre: Pre = False,
        post: Post = False,
    ) -> None:
        """Draft a migration from what the models say and the database lacks."""
        from fortress.data.migration.draft import draft_migration

        with self._opened() as migrations:
            path = _run(draft_migration(migrations, domain, " ".join(words), _phase(pre=pre, post=post) or Phase.PRE))
        typer.echo(f"{path}\nRead it, then: fortress migrate up && fortress migrate check")

    def check(self) -> None:
        """Try every migration up, down and up in a database of its own; compare the result with the models; lint the SQL."""
        from fortress.data.migration.check import check_migrations

        with self._opened() as migrations:
            breaches = _run(check_migrations(migrations.owner_url, migrations.branches, migrations.patience))
        if breaches:
            raise BrokenRules(breaches)
        typer.echo("The models are what the migrations make; each can be taken back.")


def migrate_app(opened: OpenMigrations) -> typer.Typer:
    """The command group; `main` mounts it as `migrate`."""
    commands = MigrateCommands(opened)
    app = typer.Typer(name="migrate", help="Change the schema, by migration only.", no_args_is_help=True)
    for command in (commands.up, commands.down, commands.status, commands.new, commands.check):
        app.command()(command)
    return app


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _phase(*, pre: bool, post: bool) -> Phase | None:
    if pre and post:
        raise CannotStart("--pre and --post are two deployments' steps", hint="leave both out to apply everything")
    if pre:
        return Phase.PRE
    return Phase.POST if post else None


def _counted(number: int, done: str) -> str:
    return f"{number} migration{'' if number == 1 else 's'} {done}" if number else "Nothing to do"


def _line(branch: BranchStatus) -> str:
    where = branch.current or "nothing applied"
    since = f" since {branch.applied_at:%Y-%m-%d %H:%M} UTC" if branch.applied_at else ""
    rest = f"; pending: {', '.join(branch.pending)}" if branch.pending else ""
    return f"{branch.branch}: {where}{since}{rest}"
