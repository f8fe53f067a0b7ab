"""Webhooks, and what was sent to them."""

from __future__ import annotations

from alembic import op

from fortress.data.migration.operations import create_default_partition

revision = "webhooks_0001_pre_create"
down_revision = None
branch_labels = ("webhooks",)
depends_on = None

_WEBHOOKS = """
CREATE TABLE webhooks (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    name TEXT NOT NULL,
    url BYTEA NOT NULL,
    facts TEXT[] NOT NULL,
    everyone BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    secret BYTEA NOT NULL,
    old_secret BYTEA,
    old_until TIMESTAMPTZ,
    failures BIGINT NOT NULL,
    failing_since TIMESTAMPTZ,
    paused_until TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_webhooks PRIMARY KEY (id),
    CONSTRAINT ck_webhooks_name CHECK (char_length("name") <= 80),
    CONSTRAINT ck_webhooks_state CHECK (state IN ('active', 'paused', 'disabled'))
)"""

_DELIVERIES = """
CREATE TABLE webhook_deliveries (
    id UUID NOT NULL,
    webhook_id UUID NOT NULL,
    user_id UUID NOT NULL,
    event_id UUID NOT NULL,
    fact TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts JSONB NOT NULL,
    tries BIGINT NOT NULL,
    next_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (created_at, id),
    CONSTRAINT ck_webhook_deliveries_state CHECK (state IN ('waiting', 'delivered', 'failed'))
) PARTITION BY RANGE (created_at)"""


def upgrade() -> None:
    op.execute(_WEBHOOKS)
    op.execute("CREATE INDEX idx_webhooks_user ON webhooks (user_id, created_at DESC, id DESC)")
    op.execute(_DELIVERIES)
    op.execute("CREATE INDEX idx_webhook_deliveries_webhook ON webhook_deliveries (webhook_id, created_at DESC, id DESC)")
    op.execute("CREATE INDEX idx_webhook_deliveries_user ON webhook_deliveries (user_id)")
    op.execute("CREATE UNIQUE INDEX webhook_deliveries_event ON webhook_deliveries (created_at, webhook_id, event_id)")
    create_default_partition("webhook_deliveries")


def downgrade() -> None:
    op.execute("DROP TABLE webhook_deliveries")
    op.execute("DROP TABLE webhooks")
