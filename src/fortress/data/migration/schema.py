"""Is the database what this release needs? Cheap enough for every readiness probe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import asyncpg

from fortress.data.migration.names import Branch, Phase, Revision, read_name
from fortress.errors import CannotStart

VERSION_TABLE: Final = "alembic_version"
LOG_TABLE: Final = "migration_log"
_CURRENT: Final = "SELECT version_num FROM alembic_version"
_APPLIED: Final = "SELECT revision FROM migration_log"


class Fetches(Protocol):
    """The one thing that is asked of a connection; asyncpg's own has it."""

    async def fetch(self, query: str, /) -> Sequence[Any]: ...


class SchemaState(StrEnum):
    """How the database stands to this release's migrations.

    AT_HEAD: this release may serve. Its own `post` steps may still be to come, and a newer release's `pre` steps may be there:
        that is what `pre` and `post` promise, and what lets two releases run side by side.
    BEHIND: a `pre` step of this release is missing.
    AHEAD: a newer release has gone beyond its `pre` steps, or left a version that means nothing to us.
    """

    AT_HEAD = "at_head"
    BEHIND = "behind"
    AHEAD = "ahead"


class Schema:
    """What this release expects of its database."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._chains = {branch.name: branch.revisions() for branch in branches}
        self._known = {revision.name for chain in self._chains.values() for revision in chain}

    async def state(self, connection: Fetches) -> SchemaState:
        """How the database stands; one SELECT unless it holds versions unknown to us."""
        current = await self._current(connection)
        unknown = current - self._known
        if unknown and not await self._only_prepared(connection, unknown):
            return SchemaState.AHEAD
        return SchemaState.BEHIND if self._missing(current) else SchemaState.AT_HEAD

    async def require(self, connection: Fetches) -> None:
        """Refuse to go on with a database that is not this release's.

        Raises:
            CannotStart: it is behind, or of a newer release.
        """
        state = await self.state(connection)
        if state is SchemaState.AHEAD:
            unknown = sorted(await self._current(connection) - self._known)
            raise newer_release(unknown)
        if state is SchemaState.BEHIND:
            missing = self._missing(await self._current(connection))
            raise CannotStart(f"the database lacks {_listed(r.name for r in missing)}", hint="fortress migrate up")

    async def _current(self, connection: Fetches) -> set[str]:
        try:
            return {row[0] for row in await connection.fetch(_CURRENT)}
        except asyncpg.UndefinedTableError:
            return set()

    async def _only_prepared(self, connection: Fetches, unknown: set[str]) -> bool:
        """True when all that a newer release has done to the database is `pre`."""
        try:
            applied = {row[0] for row in await connection.fetch(_APPLIED)}
        except asyncpg.UndefinedTableError:
            return False
        foreign = applied - self._known
        return unknown <= foreign and all(_is_pre(read_name(name)) for name in foreign)

    def _missing(self, current: set[str]) -> list[Revision]:
        missing = []
        for branch, chain in self._chains.items():
            at = [read.serial for name in current if (read := read_name(name)) and read.branch == branch]
            pending = [revision for revision in chain if revision.serial > max(at, default=0)]
            last_pre = max((revision.serial for revision in pending if revision.phase is Phase.PRE), default=0)
            missing += [revision for revision in pending if revision.serial <= last_pre]
        return missing


def newer_release(unknown: Sequence[str]) -> CannotStart:
    """What to say when the database holds versions that this release doesn't know."""
    return CannotStart(
        f"the database is of a newer release: it has {_listed(unknown)}, unknown here",
        hint="start the release that made it, or take the step back with that release's `fortress migrate down`",
    )


def _is_pre(revision: Revision | None) -> bool:
    return revision is not None and revision.phase is Phase.PRE


def _listed(names: Iterable[str], shown: int = 3) -> str:
    everything = list(names)
    rest = len(everything) - shown
    return ", ".join(everything[:shown]) + (f" and {rest} more" if rest > 0 else "")
