"""`fortress routes`, `check` and `doctor`: what there is, whether it holds, and what is in force."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.table import Table

from fortress.commands.project import Target, console, load_app
from fortress.http.routes import Route
from fortress.security.permissions import Public
from fortress.settings import PREFIX, Settings, read_settings, read_with_origins

AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]


def routes(target: Target = None, as_json: AsJson = False) -> None:
    """List every route with its versions, permission and limit."""
    app = load_app(target or read_settings().app)
    rows = [_row(route, app.version) for route in app.assemble().routes]
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table("method", "path", "versions", "permission", "limit", "handler", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def check(target: Target = None) -> None:
    """Check the rules without starting; exit 1 when one is broken."""
    settings = read_settings()
    app = load_app(target or settings.app)
    app.check(settings)
    console.print(f"[green]{len(app.assemble().routes)} routes in {len(app.domains)} domains: every rule holds.[/]")


def doctor(as_json: AsJson = False) -> None:
    """Print the settings in force and where each came from; secrets are masked."""
    settings, origins = read_with_origins()
    rows = [
        {"name": PREFIX + name.upper(), "value": _shown(settings, name), "from": origins.get(name, "default"), "means": field.description}
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table("setting", "value", "from", "means", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()), style=None if row["from"] != "default" else "dim")
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
    return None if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
