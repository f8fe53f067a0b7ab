"""Fortress' own branch: the audit log, the log of facts and the limiter's buckets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fortress.data.journal import AuditEntry, EventEntry
from fortress.data.migration.names import Branch

RUNTIME: Final = "fortress"


def runtime_branch() -> Branch:
    """The branch that every project has, and that is applied first."""
    tables = (AuditEntry.table, EventEntry.table)
    return Branch(RUNTIME, Path(__file__).parent.parent / "versions", tables)
