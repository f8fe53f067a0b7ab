"""Projects to serve beside the shop itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

GENEROUS: Final = "generous:app"
_GENEROUS: Final = """
import msgspec
from fortress import Fortress
from fortress.domains import standard
from shop.orders.manifest import orders

generous = lambda _route, limit: msgspec.structs.replace(limit, quota=10**9)
app = Fortress(title="Shop", version=2, domains=[*standard, orders], limit=generous)
"""


def write_generous(directory: Path) -> Path:
    """A project in `directory`: the shop under limits that no test reaches, called GENEROUS."""
    (directory / "generous.py").write_text(_GENEROUS)
    return directory
