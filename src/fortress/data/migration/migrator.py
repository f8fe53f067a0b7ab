"""Schema changes: up, down and how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from fortress.data.migration.names import HEAD, Branch, Phase, Revision, read_name
from fortress.data.migration.schema import LOG_TABLE, VERSION_TABLE, newer_release
from fortress.data.migration.session import Patience, Say, migrator_session, owner_connection, quiet
from fortress.errors import CannotStart

if TYPE_CHECKING:
    from fortress.data.partitions import Partitions
    from fortress.data.roles import AppRole


class BranchStatus(msgspec.Struct, frozen=True):
    """How far one branch is: its revision in the database, its newest here, and what lies between."""

    branch: str
    current: str | None
    head: str | None
    applied_at: datetime | None
    pending: tuple[str, ...]


class Migrations:
    """All branches of a project over one database.

    Args:
        owner_url: the role that owns the tables.
        branches: in the order in which they are applied; the runtime's own first.
        partitions: made ahead after every change.
        role: the app's role, whose grants are put right after every change.
        say: takes one line of progress.
        patience: how long locks are waited for.
    """

    def __init__(
        self,
        owner_url: str,
        branches: Sequence[Branch],
        *,
        partitions: Partitions | None = None,
        role: AppRole | None = None,
        say: Say = quiet,
        patience: Patience | None = None,
    ) -> None:
        self.owner_url = owner_url
        self.branches = tuple(branches)
        self.patience = patience or Patience()
        self._partitions = partitions
        self._role = role
        self._say = say
        self._chains = {branch.name: branch.revisions() for branch in branches}

    async def up(self, to: str = HEAD, phase: Phase | None = None) -> list[str]:
        """Apply what is pending; partitions and grants are put right in any case.

        Args:
            to: a revision, to stop its branch there and leave the others alone; HEAD means all.
            phase: PRE goes up to the first pending `post` of each branch, POST finishes what PRE left; None does both, for an
                installation where no instance of an older release runs.

        Returns:
            The names of what was applied.

        Raises:
            CannotStart: the database is of a newer release, or the phase can't be run now.
            MigrationFailed: one of them failed; those before it stay applied.
        """
        if to == HEAD and await self._is_at_head():
            return []
        from fortress.data.migration.steps import Steps

        steps = Steps(self.branches, self.patience)
        async with migrator_session(self.owner_url, self.patience) as session:
            await steps.prepare(session)
            plan = self._plan(await current_versions(session.plain), to, phase)
            for revision in plan:
                await steps.up(session, revision, self._say)
            await self._settle(session.plain)
        return [revision.name for revision in plan]

    async def down(self, branch: str, steps: int = 1) -> list[str]:
        """Take back the last `steps` migrations of one branch.

        Returns:
            The names of what was taken back.

        Raises:
            CannotStart: there is no such branch, it has fewer, or the database is of a newer release.
            MigrationFailed: one of them failed.
        """
        from fortress.data.migration.steps import Steps

        runner = Steps(self.branches, self.patience)
        async with migrator_session(self.owner_url, self.patience) as session:
            await runner.prepare(session)
            current = await current_versions(session.plain)
            applied = self._applied(branch, current)
            self._refuse_unknown(current)
            if not 1 <= steps <= len(applied):
                raise CannotStart(f"{branch} has {len(applied)} migrations applied; {steps} can't be taken back")
            plan = applied[: -steps - 1 : -1]
            for revision in plan:
                await runner.down(session, revision, self._say)
            await self._settle(session.plain)
        return [revision.name for revision in plan]

    async def status(self) -> list[BranchStatus]:
        """How far each branch is; also while a migration runs."""
        async with owner_connection(self.owner_url, self.patience) as connection:
            current = await current_versions(connection)
            applied_at = await _log(connection)
        return [self._status(name, current, applied_at) for name in self._chains]

    def pending(self, branch: str, current: set[str]) -> tuple[Revision, ...]:
        """What a branch still lacks.

        Raises:
            CannotStart: there is no such branch.
        """
        applied = self._applied(branch, current)
        return self._chains[branch][len(applied) :]

    async def _is_at_head(self) -> bool:
        """True when nothing is pending; partitions and grants are right then too. Most starts end here, without Alembic's weight."""
        async with owner_connection(self.owner_url, self.patience) as connection:
            current = await current_versions(connection)
            if self._unknown(current) or any(self.pending(name, current) for name in self._chains):
                return False
            await self._settle(connection)
            return True

    def _plan(self, current: set[str], to: str, phase: Phase | None) -> list[Revision]:
        pending = {name: self.pending(name, current) for name in self._chains}
        if to != HEAD:
            pending = self._only_until(to, pending)
        plan = [revision for name, rest in pending.items() for revision in _in_phase(self._chains[name], rest, phase)]
        if plan:
            self._refuse_unknown(current)
        elif unknown := self._unknown(current):
            self._say(f"nothing to do: {', '.join(unknown)} of a newer release is there already")
        return plan

    def _only_until(self, to: str, pending: dict[str, tuple[Revision, ...]]) -> dict[str, tuple[Revision, ...]]:
        target = read_name(to)
        if target is None or target not in self._chains.get(target.branch, ()):
            raise CannotStart(f"there is no migration {to}", hint="fortress migrate status")
        return {target.branch: tuple(revision for revision in pending[target.branch] if revision.serial <= target.serial)}

    def _applied(self, branch: str, current: set[str]) -> tuple[Revision, ...]:
        if branch not in self._chains:
            raise CannotStart(f"there is no branch {branch}", hint=f"there are {', '.join(self._chains)}")
        serials = [read.serial for name in current if (read := read_name(name)) and read.branch == branch]
        return self._chains[branch][: max(serials, default=0)]

    def _unknown(self, current: set[str]) -> list[str]:
        known = {revision.name for chain in self._chains.values() for revision in chain}
        return sorted(current - known)

    def _refuse_unknown(self, current: set[str]) -> None:
        if unknown := self._unknown(current):
            raise newer_release(unknown)

    def _status(self, name: str, current: set[str], applied_at: dict[str, datetime]) -> BranchStatus:
        at = next((version for version in current if (read := read_name(version)) and read.branch == name), None)
        chain = self._chains[name]
        return BranchStatus(
            branch=name,
            current=at,
            head=chain[-1].name if chain else None,
            applied_at=applied_at.get(at) if at else None,
            pending=tuple(revision.name for revision in self.pending(name, current)),
        )

    async def _settle(self, connection: asyncpg.Connection) -> None:
        if self._partitions:
            await self._cut(connection, self._partitions)
        if self._role and (warning := await self._role.ensure(connection)):
            self._say(f"warning: {warning}")

    async def _cut(self, connection: asyncpg.Connection, partitions: Partitions) -> None:
        try:
            for name in await partitions.ensure(connection):
                self._say(f"partition {name}")
        except asyncpg.LockNotAvailableError:
            self._say("warning: a long transaction holds a partitioned table; its next months are left for the next run")


def _in_phase(chain: Sequence[Revision], pending: tuple[Revision, ...], phase: Phase | None) -> tuple[Revision, ...]:
    """The part of one branch's pending migrations that a phase may run now."""
    if phase is None or not pending:
        return pending
    last_pre = max((revision.serial for revision in pending if revision.phase is Phase.PRE), default=0)
    if phase is Phase.POST:
        if last_pre:
            first = chain[last_pre - 1].name
            raise CannotStart(f"{first} is not applied yet", hint="fortress migrate up --pre, then start the new release")
        return pending
    wanted = tuple(revision for revision in pending if revision.serial <= last_pre)
    waiting = next((revision for revision in wanted if revision.phase is Phase.POST), None)
    fresh = len(pending) == len(chain)
    if waiting and not fresh:
        raise CannotStart(
            f"{chain[last_pre - 1].name} comes after {waiting.name}, which belongs to the release before",
            hint="finish that release first: fortress migrate up --post once none of its predecessors runs",
        )
    return wanted


async def current_versions(connection: asyncpg.Connection) -> set[str]:
    """The newest revision of each branch that the database holds."""
    if await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
        return set()
    return {row[0] for row in await connection.fetch("SELECT version_num FROM alembic_version")}


async def _log(connection: asyncpg.Connection) -> dict[str, datetime]:
    if await connection.fetchval("SELECT to_regclass($1)", LOG_TABLE) is None:
        return {}
    return {row[0]: row[1] for row in await connection.fetch("SELECT revision, applied_at FROM migration_log")}
