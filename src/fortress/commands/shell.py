"""The `fortress` command and its groups."""

from __future__ import annotations

import typer

from fortress.commands.apikey import apikey_app
from fortress.commands.audit import audit_app
from fortress.commands.events import events_app
from fortress.commands.inspect import InspectCommands
from fortress.commands.jobs import jobs_app
from fortress.commands.keys import keys_app
from fortress.commands.mail import mail_app
from fortress.commands.migrate import migrate_app
from fortress.commands.openapi import OpenApiCommand
from fortress.commands.project import LoadApp, Project
from fortress.commands.role import role_app
from fortress.commands.serve import ServeCommand
from fortress.commands.user import user_app
from fortress.commands.worker import WorkerCommand


def shell(load: LoadApp) -> typer.Typer:
    """The whole command line, for the projects that `load` finds."""
    project = Project(load)
    inspect = InspectCommands(project)
    app = typer.Typer(
        name="fortress",
        help="A Python backend whose rules are its runtime.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    serving = (ServeCommand(project).serve, WorkerCommand(project).worker)
    for command in (*serving, inspect.check, inspect.routes, inspect.doctor, OpenApiCommand(project).openapi):
        app.command()(command)
    app.add_typer(migrate_app(project.migrations), name="migrate")
    app.add_typer(audit_app(project.verify_audit_log), name="audit")
    app.add_typer(keys_app(project), name="keys")
    app.add_typer(events_app(project.at_log), name="events")
    app.add_typer(jobs_app(project.at_desk), name="jobs")
    app.add_typer(mail_app())
    for group in (user_app, role_app, apikey_app):
        app.add_typer(group(project.ask))
    return app
