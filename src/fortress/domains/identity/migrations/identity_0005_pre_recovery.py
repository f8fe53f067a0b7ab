"""Tokens sent by mail, changes of an address that are under way, and where people have signed in from."""

from __future__ import annotations

from alembic import op

revision = "identity_0005_pre_recovery"
down_revision = "identity_0004_pre_keys"
branch_labels = None
depends_on = None

_MAILED_TOKENS = """
CREATE TABLE mailed_tokens (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    digest BYTEA NOT NULL,
    bound BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_mailed_tokens PRIMARY KEY (id),
    CONSTRAINT ck_mailed_tokens_purpose CHECK (purpose IN ('verify_email', 'reset_password'))
)"""

_EMAIL_CHANGES = """
CREATE TABLE email_changes (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    new_email BYTEA NOT NULL,
    bound BYTEA NOT NULL,
    old_digest BYTEA NOT NULL,
    new_digest BYTEA NOT NULL,
    old_proved_at TIMESTAMPTZ,
    new_proved_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_email_changes PRIMARY KEY (id)
)"""

_KNOWN_DEVICES = """
CREATE TABLE known_devices (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    digest BYTEA NOT NULL,
    place BYTEA NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_known_devices PRIMARY KEY (id)
)"""


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN verified_at TIMESTAMPTZ")
    op.execute(_MAILED_TOKENS)
    op.execute("CREATE UNIQUE INDEX mailed_tokens_digest ON mailed_tokens (digest)")
    op.execute("CREATE INDEX idx_mailed_tokens_user ON mailed_tokens (user_id, purpose)")
    op.execute("CREATE INDEX idx_mailed_tokens_expires ON mailed_tokens (expires_at)")
    op.execute(_EMAIL_CHANGES)
    op.execute("CREATE UNIQUE INDEX email_changes_user ON email_changes (user_id)")
    op.execute("CREATE UNIQUE INDEX email_changes_old ON email_changes (old_digest)")
    op.execute("CREATE UNIQUE INDEX email_changes_new ON email_changes (new_digest)")
    op.execute("CREATE INDEX idx_email_changes_expires ON email_changes (expires_at)")
    op.execute(_KNOWN_DEVICES)
    op.execute("CREATE UNIQUE INDEX known_devices_digest ON known_devices (user_id, digest)")
    op.execute("CREATE INDEX idx_known_devices_seen ON known_devices (last_seen_at)")


def downgrade() -> None:
    op.execute("DROP TABLE known_devices")
    op.execute("DROP TABLE email_changes")
    op.execute("DROP TABLE mailed_tokens")
    op.execute("ALTER TABLE users DROP COLUMN verified_at")
