"""`fortress routes`, `check` and `doctor`: what there is, whether it holds, and what is in force."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.table import Table

from fortress.commands.caches import cache_rows
from fortress.commands.project import Project, Target, console
from fortress.http.routes import Route
from fortress.security.permissions import Public
from fortress.settings import PREFIX, Settings, read_settings, read_with_origins

AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]


class InspectCommands:
    """The commands that only look."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def routes(self, target: Target = None, *, as_json: AsJson = False) -> None:
        """List every route with its versions, permission and limit."""
        app = self._project.app(target, read_settings())
        rows = [_row(route, app.version) for route in app.assemble().routes]
        _show(rows, as_json=as_json)

    def check(self, target: Target = None) -> None:
        """Check the rules without starting; exit 1 when one is broken."""
        settings = read_settings()
        app = self._project.app(target, settings)
        app.check(settings)
        console.print(f"[green]{len(app.assemble().routes)} routes in {len(app.domains)} domains: every rule holds.[/]")

    def doctor(self, *, as_json: AsJson = False) -> None:
        """Print the settings in force and where each came from, secrets masked; of a server that runs here, what its cache does."""
        settings, origins = read_with_origins()
        rows = [
            {
                "setting": PREFIX + name.upper(),
                "value": _shown(settings, name),
                "from": origins.get(name, "default"),
                "means": field.description,
            }
            for name, field in Settings.model_fields.items()
        ]
        caches = cache_rows(settings)
        if as_json:
            console.print_json(json.dumps({"settings": rows, "caches": caches}))
            return
        _show(rows, as_json=False)
        if caches:
            console.print()
            _show(caches, as_json=False)
        elif caches is None:
            console.print(f"\n[dim]No server answers on port {settings.port}; what its cache does is shown while it runs.[/]")


def _show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)


def _row(route: Route, current: int) -> dict[str, Any]:
    policy = route.policy
    allow, limit = policy["allow"], policy["limit"]
    last = min(policy.get("until", current), current)
    return {
        "method": route.verb,
        "path": route.path,
        "versions": f"v{policy.get('since', 1)}-v{last}" if route.versioned else "",
        "permission": "PUBLIC" if isinstance(allow, Public) else allow.name,
        "limit": f"{limit.quota}/{limit.window}s{' strict' if limit.strict else ''}",
        "handler": f"{route.handler.__module__}.{route.name}",
    }


def _shown(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return "********"
    return None if value is None else ", ".join(map(str, value)) if isinstance(value, tuple | dict) else str(value)
