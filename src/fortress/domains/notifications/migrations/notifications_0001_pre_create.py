"""What people were told, for what, and how they want to be told."""

from __future__ import annotations

from alembic import op

from fortress.data.migration.operations import create_default_partition

revision = "notifications_0001_pre_create"
down_revision = None
branch_labels = ("notifications",)
depends_on = None

_NOTIFICATIONS = """
CREATE TABLE notifications (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    kind TEXT NOT NULL,
    data BYTEA,
    address BYTEA,
    listed BOOLEAN NOT NULL,
    mail TEXT NOT NULL,
    due_at TIMESTAMPTZ,
    sent_at TIMESTAMPTZ,
    read_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_notifications PRIMARY KEY (created_at, id),
    CONSTRAINT ck_notifications_mail CHECK (mail IN ('waiting', 'gathering', 'gathered', 'sent', 'refused', 'none'))
) PARTITION BY RANGE (created_at)"""

_MARKS = """
CREATE TABLE notification_marks (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    kind TEXT NOT NULL,
    once TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_notification_marks PRIMARY KEY (id),
    CONSTRAINT ck_notification_marks_once CHECK (char_length("once") <= 200)
)"""

_SETTINGS = """
CREATE TABLE notification_settings (
    id UUID NOT NULL,
    locale TEXT,
    choices JSONB NOT NULL,
    refused BYTEA,
    refused_at TIMESTAMPTZ,
    version BIGINT NOT NULL,
    CONSTRAINT pk_notification_settings PRIMARY KEY (id)
)"""


def upgrade() -> None:
    op.execute(_NOTIFICATIONS)
    op.execute("CREATE INDEX idx_notifications_user ON notifications (user_id, created_at DESC, id DESC)")
    op.execute("CREATE INDEX idx_notifications_due ON notifications (due_at) WHERE mail = 'gathering'")
    create_default_partition("notifications")
    op.execute(_MARKS)
    op.execute("CREATE UNIQUE INDEX notification_marks_once ON notification_marks (user_id, kind, once)")
    op.execute("CREATE INDEX idx_notification_marks_created ON notification_marks (created_at)")
    op.execute(_SETTINGS)


def downgrade() -> None:
    op.execute("DROP TABLE notification_settings")
    op.execute("DROP TABLE notification_marks")
    op.execute("DROP TABLE notifications")
