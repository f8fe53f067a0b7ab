"""Entry points; each only calls the part that does the work."""

from __future__ import annotations

import sys

from rich.console import Console

from fortress.errors import BrokenRules, CannotStart

_CANNOT_START = 1


def main() -> None:
    """The `fortress` command."""
    from fortress.commands.shell import shell

    try:
        shell()
    except CannotStart as error:
        _explain(error)
        sys.exit(_CANNOT_START)


def _explain(error: CannotStart) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]fortress:[/] {_plain(error.problem)}")
    if isinstance(error, BrokenRules):
        console.print()
        for breach in error.breaches:
            console.print(f"  [bold]{breach.rule}[/]  {_plain(breach.what)}  [dim]{_plain(breach.where)}[/]")
            console.print(f"          {_plain(breach.why)}")
    if error.hint:
        console.print(f"  [dim]{_plain(error.hint)}[/]")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
