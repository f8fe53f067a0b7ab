"""One migration, up or down, through Alembic without an alembic.ini or env.py: this module is the environment."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from fortress.data.migration.names import Branch, Revision
from fortress.data.migration.schema import LOG_TABLE, VERSION_TABLE
from fortress.data.migration.session import BUSY, MigrationFailed, Patience, Say, Session, sqlstate
from fortress.errors import CannotStart

# Alembic would make its table with VARCHAR(32), too short for names that say something.
_OWN_TABLES: Final = (
    f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num TEXT NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)",
    f"CREATE TABLE IF NOT EXISTS {LOG_TABLE} (revision TEXT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())",
)
_TURNS: Final = re.compile(r"^(BEGIN|COMMIT);$", re.MULTILINE)
_REMEMBER: Final = text("INSERT INTO migration_log (revision) VALUES (:revision) ON CONFLICT DO NOTHING")
_FORGET: Final = text("DELETE FROM migration_log WHERE revision = :revision")


class Steps:
    """The migrations of all branches, ready to be run one by one."""

    def __init__(self, branches: Sequence[Branch], patience: Patience) -> None:
        self._patience = patience
        places = [str(branch.directory) for branch in branches]
        self._scripts = ScriptDirectory(str(Path(__file__).parent), version_locations=places)
        for branch in branches:
            self._follow(branch)

    async def prepare(self, session: Session) -> None:
        """Make Alembic's table, and the log of what was applied when."""
        for statement in _OWN_TABLES:
            await session.plain.execute(statement)

    async def up(self, session: Session, revision: Revision, say: Say) -> None:
        """Apply one migration, and say how long it took.

        Raises:
            MigrationFailed: it failed, or didn't get its locks in all its tries.
        """
        await self._run(session, revision, MigrationStep.upgrade_from_script(self._scripts.revision_map, self.script(revision)), say)

    async def down(self, session: Session, revision: Revision, say: Say) -> None:
        """Take one migration back.

        Raises:
            MigrationFailed: as `up`.
        """
        script = self.script(revision)
        if not hasattr(script.module, "downgrade"):
            raise MigrationFailed(f"{revision.name} has no downgrade", hint=script.path)
        await self._run(session, revision, MigrationStep.downgrade_from_script(self._scripts.revision_map, script), say)

    def script(self, revision: Revision) -> Script:
        """The loaded file of a revision."""
        return self._scripts.get_revision(revision.name)

    def sql(self, revision: Revision) -> str:
        """What a migration would send, as SQL text.

        Raises:
            MigrationFailed: it asks the database something, so that it can't be written down.
        """
        written = io.StringIO()
        context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written})
        try:
            with Operations.context(context):
                self.script(revision).module.upgrade()
        except Exception as error:
            raise MigrationFailed(f"{revision.name} can't be written as SQL: {error}") from error
        # Where it leaves the transaction around it is written down, but not that transaction.
        return _TURNS.sub("", written.getvalue())

    async def _run(self, session: Session, revision: Revision, step: MigrationStep, say: Say) -> None:
        way = "" if step.is_upgrade else " down"
        for attempt in range(1, self._patience.tries + 1):
            began = time.perf_counter()
            try:
                await session.alembic.run_sync(_apply, self._scripts, step)
            except DBAPIError as error:
                await session.alembic.rollback()
                if sqlstate(error) not in BUSY or attempt == self._patience.tries:
                    raise _failed(revision, error, attempt) from error
                say(f"{revision.name}{way} … waits for a lock (try {attempt} of {self._patience.tries})")
                await asyncio.sleep(self._patience.pause(attempt))
            except Exception as error:
                await session.alembic.rollback()
                raise MigrationFailed(f"{revision.name}{way} failed: {type(error).__name__}: {error}") from error
            else:
                return say(f"{revision.name}{way} … {(time.perf_counter() - began) * 1000:.0f} ms")
        return None

    def _follow(self, branch: Branch) -> None:
        """Each file must name its predecessor; serials and Alembic's links may not tell two stories."""
        previous: str | None = None
        for revision in branch.revisions():
            try:
                script = self.script(revision)
            except (CommandError, KeyError, AttributeError):
                raise CannotStart(f'{revision.name} should say revision = "{revision.name}"', hint=str(branch.directory)) from None
            if script.down_revision != previous:
                raise CannotStart(f"{revision.name} should say down_revision = {_quoted(previous)}", hint=script.path)
            if previous is None and branch.name not in script.branch_labels:
                raise CannotStart(f'{revision.name} should say branch_labels = ("{branch.name}",)', hint=script.path)
            previous = revision.name


def _apply(connection: Connection, scripts: ScriptDirectory, step: MigrationStep) -> None:
    def the_step(_heads: Any, _context: MigrationContext) -> Iterable[MigrationStep]:
        return [step]

    context = MigrationContext.configure(
        connection,
        opts={"fn": the_step, "script": scripts, "transaction_per_migration": True, "on_version_apply": (_write_log,)},
    )
    with Operations.context(context):
        context.run_migrations()


def _write_log(*, ctx: MigrationContext, step: Any, **_: object) -> None:
    if ctx.connection is None:
        return
    ctx.connection.execute(_REMEMBER if step.is_upgrade else _FORGET, {"revision": step.up_revision_id})


def _failed(revision: Revision, error: DBAPIError, attempt: int) -> MigrationFailed:
    if sqlstate(error) in BUSY:
        return MigrationFailed(
            f"{revision.name} got no lock in {attempt} tries; a long transaction holds its table",
            hint="SELECT pid, state, query FROM pg_stat_activity WHERE xact_start < now() - interval '10 s'",
        )
    said = str(getattr(error.orig, "__cause__", None) or error.orig).splitlines()[0]
    return MigrationFailed(f"{revision.name} failed: {said}", hint="it is rolled back; what ran before it stays")


def _quoted(name: str | None) -> str:
    return f'"{name}"' if name else "None"
