"""Entry points; each only calls the part that does the work."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from fortress.errors import BrokenRules, CannotStart

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress


def main() -> None:
    """The `fortress` command."""
    from fortress.commands.shell import shell

    try:
        shell(load_app)()
    except CannotStart as error:
        explain(error)
        sys.exit(1)


def load_app(target: str | None) -> Fortress:
    """The app called `module:name`; without a target, the built-in domains alone.

    Raises:
        CannotStart: there is no such module or name, or it is not a Fortress.
    """
    from fortress.bootstrap import Fortress
    from fortress.domains import standard

    if target is None:
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


def explain(error: CannotStart) -> None:
    """Say on standard error what is in the way, and what to do about it."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]fortress:[/] {escape(error.problem)}")
    if isinstance(error, BrokenRules):
        console.print()
        for breach in error.breaches:
            console.print(f"  [bold]{breach.rule}[/]  {escape(breach.what)}  [dim]{escape(breach.where)}[/]")
            console.print(f"          {escape(breach.why)}")
    if error.hint:
        console.print(f"  [dim]{escape(error.hint)}[/]")


if __name__ == "__main__":
    main()
