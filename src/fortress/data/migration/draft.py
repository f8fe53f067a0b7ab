"""A new migration, drafted from what the models say and the database lacks. Read it before you apply it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import ops
from alembic.operations.ops import MigrateOperation
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Index, Table
from sqlalchemy.schema import CreateIndex

from fortress.data.columns import SqlType
from fortress.data.migration.catalog import one_schema
from fortress.data.migration.migrator import Migrations, current_versions
from fortress.data.migration.names import Branch, Phase, Revision
from fortress.data.migration.session import migrator_session
from fortress.errors import CannotStart

_PLUGINS: Final = ("alembic.autogenerate.*", "~alembic.autogenerate.comments", "alembic.ext.checkconstraint_byname")
_OPERATIONS: Final = ("create_default_partition", "create_index_concurrently", "drop_index_concurrently")
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")
_FILE: Final = '''"""{sentence}."""

from __future__ import annotations

{imports}

revision = "{revision}"
down_revision = {down_revision}
branch_labels = {labels}
depends_on = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


class Draft:
    """The two halves of a new migration, as Python."""

    def __init__(self, upgrade: Sequence[str], downgrade: Sequence[str]) -> None:
        self.upgrade = "\n    ".join(upgrade) or "pass"
        self.downgrade = "\n    ".join(downgrade) or "pass"

    def imports(self) -> str:
        """The imports that both halves need, sorted as ruff would."""
        code = self.upgrade + self.downgrade
        lines = ["import sqlalchemy as sa"] * ("sa." in code) + ["from alembic import op"] * ("op." in code)
        lines += ["from sqlalchemy.dialects import postgresql"] * ("postgresql." in code)
        own = ["from fortress.data.columns import SqlType"] * ("SqlType(" in code)
        used = [name for name in _OPERATIONS if name in code]
        own += [f"from fortress.data.migration.operations import {', '.join(used)}"] * bool(used)
        return "\n\n".join("\n".join(block) for block in (lines, own) if block)


async def draft_migration(migrations: Migrations, branch: str, words: str, phase: Phase) -> Path:
    """Write the next migration of a branch: what its models declare and the owner's database, which is at head, lacks.

    Indexes on tables that are there come concurrently, in a migration of their own: apply the first draft and ask again.

    Returns:
        The new file.

    Raises:
        CannotStart: there is no such branch, the words say nothing, or the database is not at head.
    """
    found = next((known for known in migrations.branches if known.name == branch), None)
    if found is None:
        raise CannotStart(f"there is no branch {branch}", hint=f"there are {', '.join(known.name for known in migrations.branches)}")
    slug = _NOT_A_WORD.sub("_", words.lower()).strip("_")
    if not slug:
        raise CannotStart("a migration needs a few words that say what it does", hint=f"fortress migrate new {branch} add colour")
    async with migrator_session(migrations.owner_url, migrations.patience) as session:
        if pending := migrations.pending(branch, await current_versions(session.plain)):
            raise CannotStart(f"{pending[0].name} is not applied yet", hint="fortress migrate up")
        draft = await session.alembic.run_sync(_compare, found.tables)
    return _write(found, slug, phase, draft)


def _compare(connection: Connection, tables: Sequence[Table]) -> Draft:
    metadata = one_schema(tables)
    context = MigrationContext.configure(connection, opts={"include_object": _of_the_models, "autogenerate_plugins": _PLUGINS})
    script = produce_migrations(context, metadata)
    if script.upgrade_ops is None or script.downgrade_ops is None:
        return Draft((), ())
    present = _present(script.upgrade_ops)
    upgrade, downgrade = _split(script.upgrade_ops, present), _split(script.downgrade_ops, present)
    if upgrade[0].ops or not upgrade[1]:
        return Draft(
            [*_rendered(upgrade[0], context), *_defaults(upgrade[0])],
            _rendered(downgrade[0], context),
        )
    return Draft(upgrade[1], downgrade[1])


def _of_the_models(_object: Any, _name: str | None, kind: str, reflected: bool, compared: Any) -> bool:  # noqa: FBT001 (Alembic's hook)
    """A table that no model declares is somebody else's: another domain's, a partition, or one to be dropped by hand."""
    return not (kind == "table" and reflected and compared is None)


def _present(operations: ops.UpgradeOps) -> set[str]:
    """Tables that are altered, not made."""
    made = {part.table_name for part in operations.ops if isinstance(part, ops.CreateTableOp)}
    return {part.table_name for part in operations.ops if isinstance(part, ops.ModifyTableOps)} - made


def _split(operations: ops.UpgradeOps | ops.DowngradeOps, present: set[str]) -> tuple[ops.UpgradeOps, list[str]]:
    """What may run in a transaction, and the lines for indexes on tables that are there, which may not."""
    inside: list[MigrateOperation] = []
    concurrent: list[str] = []
    for part in operations.ops:
        if isinstance(part, ops.CreateTableOp):
            part.comment, part.info = None, {}
        if isinstance(part, ops.ModifyTableOps) and part.table_name in present:
            indexes = [one for one in part.ops if isinstance(one, ops.CreateIndexOp | ops.DropIndexOp)]
            concurrent += [_concurrently(one) for one in indexes]
            part.ops = [one for one in part.ops if one not in indexes]
        if not isinstance(part, ops.ModifyTableOps) or part.ops:
            inside.append(part)
    return ops.UpgradeOps(inside), concurrent


def _concurrently(operation: MigrateOperation) -> str:
    if isinstance(operation, ops.DropIndexOp):
        return f'drop_index_concurrently("{operation.index_name}")'
    assert isinstance(operation, ops.CreateIndexOp)
    index: Index = operation.to_index()
    sql = " ".join(str(CreateIndex(index).compile(dialect=_dialect())).split())
    definition = sql.partition(f" ON {operation.table_name} ")[2]
    unique = ", unique=True" if operation.unique else ""
    return f'create_index_concurrently("{operation.index_name}", "{operation.table_name}", "{definition}"{unique})'


def _dialect() -> Any:
    return MigrationContext.configure(dialect_name="postgresql").dialect


def _rendered(operations: ops.UpgradeOps, context: MigrationContext) -> list[str]:
    code = render_python_code(operations, migration_context=context, render_item=_render)
    lines = [_tidy(line.strip().replace(", postgresql_where=None", "")) for line in code.splitlines()]
    return [_indented(line) for line in lines if line and not line.startswith("#") and line != "pass"]


def _tidy(line: str) -> str:
    """Only of an integer could one think that the server numbers it."""
    return line if "Integer" in line else line.replace(", autoincrement=False", "")


def _indented(line: str) -> str:
    """Alembic writes the arguments of a call under its name."""
    return line if line.startswith(("op.", ")")) else f"    {line}"


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    return f'SqlType("{item.name}")' if kind == "type" and isinstance(item, SqlType) else False


def _defaults(operations: ops.UpgradeOps) -> list[str]:
    made = [part for part in operations.ops if isinstance(part, ops.CreateTableOp)]
    return [f'create_default_partition("{part.table_name}")' for part in made if part.kw.get("postgresql_partition_by")]


def _write(branch: Branch, slug: str, phase: Phase, draft: Draft) -> Path:
    chain = branch.revisions()
    revision = Revision(branch.name, len(chain) + 1, phase, slug)
    path = branch.directory / f"{revision.name}.py"
    branch.directory.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _FILE.format(
            sentence=slug.replace("_", " ").capitalize(),
            imports=draft.imports(),
            revision=revision.name,
            down_revision=f'"{chain[-1].name}"' if chain else "None",
            labels="None" if chain else f'("{branch.name}",)',
            upgrade=draft.upgrade,
            downgrade=draft.downgrade,
        ),
        "utf-8",
    )
    return path
