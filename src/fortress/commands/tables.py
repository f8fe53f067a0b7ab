"""How lists are shown: as a table for people, as JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fortress.commands.project import console

_WIDEST: Final = 1000


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], *, nothing: str) -> None:
    """Print a table, never cut or folded, so that it can be searched and copied; `nothing` is said of an empty one."""
    if not rows:
        console.print(nothing)
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        # As text, not as markup: what people have written must not colour the terminal.
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    wide = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    # A console of its own, as wide as the table: one that is as wide as the terminal would fold the cells.
    Console(highlight=False, width=wide).print(table)


def show_json(value: Any) -> None:
    """Print it for scripts: one line, no colours."""
    typer.echo(msgspec.json.encode(value).decode())
