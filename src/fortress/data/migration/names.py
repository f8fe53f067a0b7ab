"""What a migration is called, and the chains that the names form.

A revision is its file's name: `<branch>_<serial>_<pre|post>_<words>`. The serial orders a branch, so what a server must
find in its database is known from file names alone; nothing of Alembic is loaded for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fortress.errors import CannotStart

if TYPE_CHECKING:
    from sqlalchemy import Table

HEAD: Final = "head"
RUNTIME: Final = "fortress"
_NAME: Final = re.compile(r"(?P<branch>[a-z][a-z0-9_]*?)_(?P<serial>\d{4})_(?P<phase>pre|post)_(?P<words>[a-z0-9]+(?:_[a-z0-9]+)*)")


class Phase(StrEnum):
    """When a migration runs: PRE before any instance of the new code, POST once no instance of the old code is left."""

    PRE = "pre"
    POST = "post"


class Revision(msgspec.Struct, frozen=True):
    """One migration, as its name tells it."""

    branch: str
    serial: int
    phase: Phase
    words: str

    @property
    def name(self) -> str:
        return f"{self.branch}_{self.serial:04}_{self.phase}_{self.words}"


def read_name(name: str) -> Revision | None:
    """The revision that `name` means; None when it is not a name of ours."""
    match = _NAME.fullmatch(name)
    return Revision(match["branch"], int(match["serial"]), Phase(match["phase"]), match["words"]) if match else None


class Branch:
    """The migrations of one domain.

    Args:
        name: the domain's name, and the label of its Alembic branch.
        directory: where its migrations lie.
        tables: what its models declare.
        undeclared: names of tables that its migrations make as another library's schema has them; no model says what they are.
    """

    def __init__(self, name: str, directory: Path, tables: Sequence[Table] = (), undeclared: Sequence[str] = ()) -> None:
        self.name = name
        self.directory = directory
        self.tables = tuple(tables)
        self.undeclared = frozenset(undeclared)

    def revisions(self) -> tuple[Revision, ...]:
        """Its chain, oldest first.

        Raises:
            CannotStart: a file is not named as a migration of this branch, or a serial is missing or taken twice.
        """
        files = sorted(path for path in self.directory.glob("*.py") if path.stem != "__init__")
        chain = tuple(self._revision(path) for path in files)
        for serial, revision in enumerate(chain, start=1):
            if revision.serial != serial:
                raise CannotStart(f"migration {revision.name} should have the serial {serial:04}", hint=f"see {self.directory}")
        return chain

    def _revision(self, path: Path) -> Revision:
        revision = read_name(path.stem)
        if revision is None or revision.branch != self.name:
            raise CannotStart(
                f"{path} is not a migration's name",
                hint=f"{self.name}_<serial>_<pre|post>_<words>.py, for instance {self.name}_0001_pre_create.py",
            )
        return revision


def runtime_branch(tables: Sequence[Table]) -> Branch:
    """Fortress' own branch, which every project has and which is applied first.

    Args:
        tables: the audit log and the log of facts; the limiter's buckets and the brokers' leases are added here.
    """
    from fortress.data.migration.buckets import limit_buckets
    from fortress.data.migration.leases import broker_leases
    from fortress.data.migration.places import parked_facts, subscriber_lanes
    from fortress.data.queue import TABLES

    own = (*tables, limit_buckets(), broker_leases(), subscriber_lanes(), parked_facts())
    return Branch(RUNTIME, Path(__file__).parent.parent / "versions", own, TABLES)
