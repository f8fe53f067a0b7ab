"""How lists are shown: as a table for people, as JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import typer
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
    console.print(table, width=max(wide, 1), crop=False, no_wrap=True)


def show_json(value: Any) -> None:
    """Print it for scripts: one line, no colours."""
    typer.echo(msgspec.json.encode(value).decode())
