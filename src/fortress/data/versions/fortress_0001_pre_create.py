"""The audit log, the log of facts, and the limiter's buckets."""

from __future__ import annotations

from alembic import op

from fortress.data.migration.operations import create_default_partition

revision = "fortress_0001_pre_create"
down_revision = None
branch_labels = ("fortress",)
depends_on = None

_AUDIT_LOG = """
CREATE TABLE audit_log (
    id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    actor_id UUID NOT NULL,
    actor_kind TEXT NOT NULL,
    session UUID,
    action TEXT NOT NULL,
    target TEXT,
    address TEXT,
    request_id TEXT,
    detail JSONB NOT NULL,
    tx XID8 NOT NULL DEFAULT pg_current_xact_id(),
    seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_audit_log PRIMARY KEY (at, id)
) PARTITION BY RANGE (at)"""

_EVENTS = """
CREATE TABLE events (
    id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    aggregate UUID NOT NULL,
    actor_id UUID NOT NULL,
    request_id TEXT,
    payload JSONB NOT NULL,
    tx XID8 NOT NULL DEFAULT pg_current_xact_id(),
    seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_events PRIMARY KEY (at, id)
) PARTITION BY RANGE (at)"""


# Half-empty pages keep updates on their page, and an early vacuum keeps the table small: see fortress/limits/postgres.py.
_LIMIT_BUCKETS = """
CREATE UNLOGGED TABLE limit_buckets (
    key BYTEA PRIMARY KEY,
    tat BIGINT NOT NULL,
    taken BIGINT NOT NULL,
    -- squawk-ignore prefer-bigint-over-int
    granted INTEGER NOT NULL,
    used BIGINT NOT NULL
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0.5
)"""


def upgrade() -> None:
    op.execute(_AUDIT_LOG)
    op.execute("CREATE INDEX idx_audit_log_tx ON audit_log (tx, seq)")
    op.execute("CREATE INDEX idx_audit_log_actor ON audit_log (actor_id, at DESC)")
    op.execute("CREATE INDEX idx_audit_log_target ON audit_log (target, at DESC)")
    create_default_partition("audit_log")
    op.execute(_EVENTS)
    op.execute("CREATE INDEX idx_events_tx ON events (tx, seq)")
    op.execute("CREATE INDEX idx_events_aggregate ON events (aggregate, seq)")
    create_default_partition("events")
    op.execute(_LIMIT_BUCKETS)


def downgrade() -> None:
    op.execute("DROP TABLE limit_buckets")
    op.execute("DROP TABLE events")
    op.execute("DROP TABLE audit_log")
