"""The `fortress` command and its groups."""

from __future__ import annotations

import typer

from fortress.commands import inspect, keys, serve
from fortress.commands.migrate import migrate_app
from fortress.commands.project import opened_migrations

shell = typer.Typer(
    name="fortress",
    help="A Python backend whose rules are its runtime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
shell.command()(serve.serve)
shell.command()(inspect.check)
shell.command()(inspect.routes)
shell.command()(inspect.doctor)
shell.add_typer(migrate_app(opened_migrations), name="migrate")
shell.add_typer(keys.group, name="keys")
