"""The same people twice: encrypted, and in plain columns."""

from __future__ import annotations

from alembic import op

revision = "bench_0001_pre_people"
down_revision = None
branch_labels = ("bench",)
depends_on = None


def upgrade() -> None:
    for table, kind in (("bench_sealed_people", "BYTEA"), ("bench_plain_people", "TEXT")):
        op.execute(
            f"CREATE TABLE {table} (id UUID NOT NULL, email {kind} NOT NULL, name {kind}, created_at TIMESTAMPTZ NOT NULL, "
            f"email_key BYTEA NOT NULL, CONSTRAINT pk_{table} PRIMARY KEY (id))"
        )
        op.execute(f"CREATE INDEX idx_{table}_created ON {table} (created_at DESC, id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE bench_plain_people")
    op.execute("DROP TABLE bench_sealed_people")
