"""`fortress serve`: everything from nothing to a server, and back."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from fortress import heap
from fortress.commands.project import Project, Target, console, running_database, say
from fortress.http.server import check_port
from fortress.http.server import serve as run_server
from fortress.settings import Settings, read_settings


class ServeCommand:
    """The command that serves a project."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def serve(
        self,
        target: Target = None,
        host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
        port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
        workers: Annotated[int | None, typer.Option(help="server processes")] = None,
    ) -> None:
        """Serve the project; in development with a database, keys, an administrator and demo data of its own."""
        heap.share_one_heap()
        given = {"host": host, "port": port, "workers": workers}
        settings = read_settings(given={name: value for name, value in given.items() if value is not None})
        app = self._project.app(target, settings)
        app.check(settings)
        check_port(settings.host, settings.port)
        with running_database(settings) as ready:
            password = asyncio.run(app.prepare(ready, say))
            app.share_metrics(ready.workers)
            announce(ready, app.title, password)
            run_server(lambda drain: app.with_settings(ready, drain), ready)


def announce(settings: Settings, title: str, password: str | None) -> None:
    """Say where everything is; a password that was just made is shown this once."""
    console.print(f"\n[bold]{title}[/] on [bold]{settings.origin}[/]")
    for name, path in (("docs", "/docs"), ("health", "/health/ready"), ("metrics", "/health/metrics")):
        console.print(f"  {name:<8} {settings.origin}{path}")
    if password is not None:
        console.print(f"  admin    {settings.administrator}  [bold]{password}[/]  (shown once)")
    console.print("  stop     Ctrl-C\n")
