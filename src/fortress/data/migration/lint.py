"""What a live database can't take, found in a migration's SQL before it is run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fortress.data.migration.names import Phase, Revision
from fortress.errors import BrokenRule

_RULE: Final = "DATA005"
_SQUAWK_SECONDS: Final = 30
_TIMEOUTS: Final = "SET lock_timeout = '500ms';\nSET statement_timeout = '5s';\n"
# Dropping is what `post` is for; the bans are about `pre`, where our own checks say it with the phase in mind.
_SQUAWK_EXCLUDED: Final = ("ban-drop-column", "ban-drop-table", "ban-drop-not-null", "renaming-column", "renaming-table")

_IGNORE_CASE: Final = re.IGNORECASE | re.DOTALL
_NEW_TABLE: Final = re.compile(r"CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF NOT EXISTS\s+)?([\w.\"]+)", _IGNORE_CASE)
_INDEX: Final = re.compile(r"CREATE\s+(UNIQUE\s+)?INDEX\s+(?P<how>CONCURRENTLY\s+)?.*?\sON\s+(ONLY\s+)?(?P<table>[\w.\"]+)", _IGNORE_CASE)
_ALTER: Final = re.compile(r"ALTER\s+TABLE\s+(IF EXISTS\s+)?(ONLY\s+)?(?P<table>[\w.\"]+)\s+(?P<what>.*)", _IGNORE_CASE)
_NEW_TYPE: Final = re.compile(r"ALTER\s+COLUMN\s+\S+\s+(SET DATA\s+)?TYPE\b")
_NEW_CONSTRAINT: Final = re.compile(r"ADD\s+(CONSTRAINT\s+\S+\s+)?(CHECK|FOREIGN KEY)\b")
_DROP: Final = re.compile(r"DROP\s+(?!INDEX)|ALTER\s.*(\bDROP\s+COLUMN|\bRENAME\b)", _IGNORE_CASE)
_DROP_INDEX: Final = re.compile(r"DROP\s+INDEX\s+(?!CONCURRENTLY)", _IGNORE_CASE)
_LOCK_TIMEOUT: Final = re.compile(r"SET\s+(LOCAL\s+|SESSION\s+)?lock_timeout\b", _IGNORE_CASE)
_BESIDE_CONCURRENT: Final = re.compile(r"(CREATE|DROP)\s.*INDEX\b|SET\b|RESET\b", _IGNORE_CASE)

_Finding = tuple[str, str]


def lint(revision: Revision, sql: str, where: str) -> list[BrokenRule]:
    """The breaches in one migration's SQL, squawk's among them where it is installed."""
    return [*_own(revision, sql, where), *_squawk(revision, sql, where)]


def _own(revision: Revision, sql: str, where: str) -> Iterator[BrokenRule]:
    statements = [statement.strip() for statement in re.sub(r"--[^\n]*", "", sql).split(";") if statement.strip()]
    fresh = {_bare(match[1]) for statement in statements if (match := _NEW_TABLE.match(statement))}
    found = [look(statement, fresh, revision.phase) for statement in statements for look in (_index, _drop, _alter)]
    for finding in (*found, _mixture(statements)):
        if finding:
            yield BrokenRule(_RULE, f"{revision.name} {finding[0]}", where, finding[1])


def _mixture(statements: list[str]) -> _Finding | None:
    concurrent = any("CONCURRENTLY" in statement.upper() for statement in statements)
    if concurrent and any(not _BESIDE_CONCURRENT.match(statement) for statement in statements):
        return "does more than build indexes concurrently", "The rest is committed before them and would be done twice in a second try."
    if not concurrent and any(_LOCK_TIMEOUT.match(statement) for statement in statements):
        return "changes lock_timeout", "It bounds how long others wait behind a migration."
    return None


def _index(statement: str, fresh: set[str], _phase: Phase) -> _Finding | None:
    match = _INDEX.match(statement)
    if match and not match["how"] and _bare(match["table"]) not in fresh:
        return f"builds an index on {match['table']} while nobody can write to it", "Use create_index_concurrently."
    if _DROP_INDEX.match(statement):
        return "drops an index under an exclusive lock", "Use drop_index_concurrently."
    return None


def _drop(statement: str, _fresh: set[str], phase: Phase) -> _Finding | None:
    if phase is Phase.PRE and _DROP.match(statement):
        return "drops or renames what the old code still uses", "`pre` runs before the new code; do it in a `post` migration."
    return None


def _alter(statement: str, fresh: set[str], phase: Phase) -> _Finding | None:
    match = _ALTER.match(statement)
    if not match or _bare(match["table"]) in fresh:
        return None
    what, table = match["what"].upper(), match["table"]
    if "ADD COLUMN" in what and "NOT NULL" in what and "DEFAULT" not in what and "GENERATED" not in what:
        return f"adds a required column to {table}", "Rows that are there have no value for it, nor has the old code: give a default."
    if phase is Phase.PRE and "SET NOT NULL" in what:
        return f"makes a column of {table} required", "The old code may still write NULL; do it in a `post` migration."
    if _NEW_TYPE.search(what):
        return f"changes the type of a column of {table}", "The table is rewritten under an exclusive lock: add a column, fill it, swap."
    if _NEW_CONSTRAINT.search(what) and "NOT VALID" not in what:
        return f"checks all of {table} under a lock", "Add the constraint NOT VALID, and VALIDATE it in a later migration."
    return None


def squawk_program() -> str | None:
    """Where squawk is; None when it is not installed (PyPI: squawk-cli)."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.exists() else shutil.which("squawk")


def _squawk(revision: Revision, sql: str, where: str) -> Iterator[BrokenRule]:
    program = squawk_program()
    if program is None:
        return
    excluded = [f"--exclude={rule}" for rule in _SQUAWK_EXCLUDED]
    inside = [] if "CONCURRENTLY" in sql.upper() else ["--assume-in-transaction"]
    command = [program, "--reporter=json", "--pg-version=15.0", f"--stdin-filepath={revision.name}.sql", *excluded, *inside]
    done = subprocess.run(command, input=_TIMEOUTS + sql, capture_output=True, text=True, timeout=_SQUAWK_SECONDS, check=False)  # noqa: S603
    for found in json.loads(done.stdout or "[]"):
        said = " ".join(str(found.get("message", "")).split())
        yield BrokenRule(_RULE, f"{revision.name}: squawk {found.get('rule_name')}", where, said)


def _bare(name: str) -> str:
    return name.replace('"', "").removeprefix("public.").lower()
