"""Fortress: a Python backend whose rules are its runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fortress.bootstrap import Fortress

__all__ = ["Fortress"]


def __getattr__(name: str) -> Any:
    # Found when asked for, so that reading one module of ours does not load all of them.
    if name == "Fortress":
        from fortress.bootstrap import Fortress

        return Fortress
    raise AttributeError(f"module 'fortress' has no attribute {name!r}")
