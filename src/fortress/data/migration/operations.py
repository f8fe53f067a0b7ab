"""What migrations need beside `alembic.op`: changes that live tables survive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alembic import op
from sqlalchemy import text

_IN_PARTITIONS: Final = """
SELECT c.oid::regclass::text, quote_ident(left(c.relname, 30) || '_' || left(:index, 32))
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass(:table) AND EXISTS (SELECT FROM pg_class p WHERE p.oid = i.inhparent AND p.relkind = 'p')"""
_BROKEN: Final = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:index) AND NOT indisvalid)"


def create_index_concurrently(name: str, table: str, definition: str, *, unique: bool = False) -> None:
    """Build an index while the table is read and written.

    What ran before it in the same migration is committed, so give it a migration of its own. May be begun again after a failure:
    an index that was left unfinished is dropped first. On a partitioned table it is built partition by partition.

    Args:
        name: of the index.
        table: what it is for.
        definition: what follows the table's name, for instance `(user_id, created_at DESC) WHERE paid`.
        unique: no two rows may have the same values.
    """
    kind = "UNIQUE INDEX" if unique else "INDEX"
    with _without_hurry():
        partitions = _partitions(name, table)
        for partition, index in partitions:
            _build(index, partition, definition, kind)
        if partitions:
            # Quick: it finds the partitions' indexes and takes them as its own.
            op.execute(f"CREATE {kind} IF NOT EXISTS {name} ON {table} {definition}")
        else:
            _build(name, table, definition, kind)


def drop_index_concurrently(name: str) -> None:
    """Drop an index while its table is read and written; for one of a partitioned table use `op.drop_index`."""
    with _without_hurry():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def create_default_partition(table: str) -> None:
    """The partition for rows that fit nowhere else; those of the months are made by `fortress migrate up` and by the server."""
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")


@contextmanager
def _without_hurry() -> Iterator[None]:
    """Outside of any transaction, and without timeouts: a concurrent build waits for old transactions, but nobody waits for it."""
    timeouts = ("lock_timeout", "statement_timeout")
    with op.get_context().autocommit_block():
        try:
            for timeout in timeouts:
                op.execute(f"SET {timeout} = 0")
            yield
        finally:
            for timeout in timeouts:
                op.execute(f"RESET {timeout}")


def _partitions(index: str, table: str) -> list[tuple[str, str]]:
    if op.get_context().as_sql:
        return []
    found = op.get_bind().execute(text(_IN_PARTITIONS), {"index": index, "table": table})
    return [(str(row[0]), str(row[1])) for row in found]


def _build(name: str, table: str, definition: str, kind: str) -> None:
    if not op.get_context().as_sql and op.get_bind().scalar(text(_BROKEN), {"index": name}):
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {table} {definition}")
