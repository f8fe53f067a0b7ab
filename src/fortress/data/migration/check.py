"""Do the migrations make what the models declare, can each be taken back, and can a live database take them?

All of it is tried in a database made for it and dropped afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from fortress.data.migration.catalog import Line, declared_catalog, read_catalog
from fortress.data.migration.lint import lint
from fortress.data.migration.names import Branch, Revision
from fortress.data.migration.session import MigrationFailed, Patience, Session, migrator_session, owner_connection, quiet
from fortress.data.migration.steps import Steps
from fortress.errors import BrokenRule, CannotStart

_EQUAL: Final = "DATA004"
_BACK: Final = "DATA005"
_SHOWN: Final = 20
_APART: Final = "Domains that share keys can't be moved apart. Keep the id, without the key."
_TAKEN_BACK: Final = "A release that fails must be taken back, its schema too."


async def check_migrations(owner_url: str, branches: Sequence[Branch], patience: Patience | None = None) -> list[BrokenRule]:
    """Every breach of DATA004 and DATA005 in the given branches; empty when there is none.

    Raises:
        CannotStart: a branch can't be loaded, or the owner may not make the database to try it in.
        MigrationFailed: a migration doesn't even run.
    """
    steps = Steps(branches, patience or Patience())
    breaches = [*_written(steps, branches), *_across_domains(branches)]
    async with scratch_database(owner_url) as scratch, migrator_session(scratch, patience or Patience()) as session:
        await steps.prepare(session)
        irreversible = await _rehearse(steps, session, branches)
        return [*breaches, *(irreversible or await _compare(session, branches))]


@asynccontextmanager
async def scratch_database(owner_url: str) -> AsyncIterator[str]:
    """An empty database beside the owner's, for as long as the block lasts.

    Raises:
        CannotStart: the owner may not make databases.
    """
    name = f"fortress_scratch_{secrets.token_hex(6)}"
    async with owner_connection(owner_url, Patience(statement_timeout=60.0)) as connection:
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        except asyncpg.InsufficientPrivilegeError:
            raise CannotStart("the owner may not make a database to try the migrations in", hint="ALTER ROLE … CREATEDB") from None
        try:
            yield urlunsplit(urlsplit(owner_url)._replace(path=f"/{name}"))
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _written(steps: Steps, branches: Sequence[Branch]) -> Iterator[BrokenRule]:
    for branch in branches:
        for revision in branch.revisions():
            script = steps.script(revision)
            try:
                yield from lint(revision, steps.sql(revision), script.path)
            except MigrationFailed as failure:
                yield BrokenRule(_BACK, failure.problem, script.path, "What can't be written down can't be reviewed or linted.")


def _across_domains(branches: Sequence[Branch]) -> Iterator[BrokenRule]:
    home = {table.name: branch.name for branch in branches for table in branch.tables}
    for branch in branches:
        for table in branch.tables:
            for key in (foreign for column in table.columns for foreign in column.foreign_keys):
                target = key.target_fullname.split(".")[-2]
                if home.get(target, branch.name) != branch.name:
                    what = f'table "{table.name}" refers to "{target}" of the domain {home[target]}'
                    yield BrokenRule("DOM002", what, branch.name, _APART)


async def _rehearse(steps: Steps, session: Session, branches: Sequence[Branch]) -> list[BrokenRule]:
    """Each migration up, down and up again; down must leave what was there before, up what was there after."""
    breaches = []
    for revision in (revision for branch in branches for revision in branch.revisions()):
        before = await _present(session)
        await steps.up(session, revision, quiet)
        after = await _present(session)
        try:
            await steps.down(session, revision, quiet)
            if left := await _present(session) ^ before:
                breaches.append(_irreversible(steps, revision, f"its downgrade leaves {_said(left)}"))
            await steps.up(session, revision, quiet)
            if left := await _present(session) ^ after:
                breaches.append(_irreversible(steps, revision, f"applied again it differs in {_said(left)}"))
        except MigrationFailed as failure:
            # What comes after it stands on ground that is not there.
            return [*breaches, _irreversible(steps, revision, failure.problem)]
    return breaches


def _irreversible(steps: Steps, revision: Revision, what: str) -> BrokenRule:
    return BrokenRule(_BACK, f"{revision.name}: {what}", steps.script(revision).path, _TAKEN_BACK)


async def _compare(session: Session, branches: Sequence[Branch]) -> list[BrokenRule]:
    undeclared = {name for branch in branches for name in branch.undeclared}
    present = {(table, line) for table, line in await _present(session) if table not in undeclared}
    tables = [table for branch in branches for table in branch.tables]
    declared = await session.alembic.run_sync(declared_catalog, tables)
    await session.alembic.rollback()
    home = {table.name: branch.name for branch in branches for table in branch.tables}
    why = "What the models say and what the database is must be the same: fortress migrate new"
    return [
        BrokenRule(_EQUAL, f"{owner} {table}: {line}", home.get(table, "no model"), why)
        for owner, lines in (("only in the models,", declared - present), ("only in the migrations,", present - declared))
        for table, line in sorted(lines)
    ]


async def _present(session: Session) -> set[Line]:
    lines = await session.alembic.run_sync(read_catalog)
    await session.alembic.rollback()
    return lines


def _said(lines: set[Line]) -> str:
    return "; ".join(f"{table}: {line}" for table, line in sorted(lines)[:_SHOWN])
