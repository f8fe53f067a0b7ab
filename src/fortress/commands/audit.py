"""`fortress audit`: is the log of who did what still what it was?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Protocol

import msgspec
import typer

_BREACHED: Final = 1


class Flaw(Protocol):
    """One thing that is wrong with the log."""

    def said(self) -> str:
        """In words."""
        ...


class Verdict(Protocol):
    """What a check of the log has found; the audit domain gives it."""

    @property
    def seals(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def unsealed(self) -> int: ...
    @property
    def unsealed_seconds(self) -> float: ...
    @property
    def witnessed(self) -> bool: ...
    @property
    def breaches(self) -> Sequence[Flaw]: ...


class AuditKeeper(Protocol):
    """Whoever keeps the log; found among the domains' services."""

    async def verify_audit_log(self) -> Verdict:
        """Check every row and every seal."""
        ...


class AuditCommands:
    """The group's commands.

    Args:
        check: has the project's keeper of the log check it.
    """

    def __init__(self, check: Callable[[], Verdict]) -> None:
        self._check = check

    def verify(self, *, as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
        """Check every row against its seal and every seal against the one before. Exits with 1 when something is wrong."""
        verdict = self._check()
        if as_json:
            typer.echo(msgspec.json.encode(verdict).decode())
        else:
            for line in lines(verdict):
                typer.echo(line)
        if verdict.breaches:
            raise typer.Exit(_BREACHED)


def audit_app(check: Callable[[], Verdict]) -> typer.Typer:
    """The command group; the shell mounts it as `audit`."""
    app = typer.Typer(name="audit", help="Who did what, sealed against change.", no_args_is_help=True)
    # With a single command typer would drop the group's name.
    app.callback()(_group)
    app.command()(AuditCommands(check).verify)
    return app


def lines(verdict: Verdict) -> list[str]:
    """The verdict for people; the first breach comes first."""
    told = [breach.said() for breach in verdict.breaches]
    if not told:
        told.append(f"The log is sound: {verdict.rows} rows under {verdict.seals} seals.")
    if verdict.unsealed:
        told.append(
            f"{verdict.unsealed} rows are not sealed yet, the oldest for {verdict.unsealed_seconds:.0f} s; nothing is said of them."
        )
    if not verdict.witnessed:
        told.append("This server has no witness of the last seal, so a tail cut off with its seals would not be noticed.")
    return told


def _group() -> None:
    """Who did what, sealed against change."""
