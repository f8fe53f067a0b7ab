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


def downgrade() -> None:
    op.execute("DROP TABLE events")
    op.execute("DROP TABLE audit_log")
