"""People, their sessions and their API keys."""

from __future__ import annotations

from alembic import op

revision = "identity_0001_pre_create"
down_revision = None
branch_labels = ("identity",)
depends_on = None

_USERS = """
CREATE TABLE users (
    id UUID NOT NULL,
    email BYTEA NOT NULL,
    name BYTEA,
    password_hash TEXT,
    status TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    signed_in_at TIMESTAMPTZ,
    version BIGINT NOT NULL,
    email_key BYTEA NOT NULL,
    name_key BYTEA,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT ck_users_status CHECK (status IN ('active', 'disabled'))
)"""

# Each refresh rewrites a row; room on its page lets PostgreSQL do so without touching an index.
_SESSIONS = """
CREATE TABLE sessions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ NOT NULL,
    proved_at TIMESTAMPTZ NOT NULL,
    factors BIGINT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    idle_expires_at TIMESTAMPTZ NOT NULL,
    generation BIGINT NOT NULL,
    token_hash BYTEA NOT NULL,
    previous_hash BYTEA,
    rotated_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    ended_by TEXT,
    address BYTEA,
    agent BYTEA,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT ck_sessions_ended_by CHECK (ended_by IN ('sign_out', 'owner', 'password_change', 'administrator', 'reuse'))
) WITH (fillfactor = 80)"""

_API_KEYS = """
CREATE TABLE api_keys (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    digest BYTEA NOT NULL,
    scopes TEXT[] NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    used_at TIMESTAMPTZ,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_name CHECK (char_length(name) <= 80),
    CONSTRAINT ck_api_keys_prefix CHECK (char_length(prefix) <= 40)
)"""


def upgrade() -> None:
    op.execute(_USERS)
    op.execute("CREATE UNIQUE INDEX users_email_key ON users (email_key)")
    op.execute("CREATE INDEX idx_users_name_key ON users (name_key) WHERE name_key IS NOT NULL")
    op.execute("CREATE INDEX idx_users_created ON users (created_at DESC, id DESC)")
    op.execute(_SESSIONS)
    op.execute("CREATE INDEX idx_sessions_user ON sessions (user_id, created_at DESC, id DESC) WHERE revoked_at IS NULL")
    op.execute("CREATE INDEX idx_sessions_expires ON sessions (expires_at)")
    op.execute(_API_KEYS)
    op.execute("CREATE INDEX idx_api_keys_user ON api_keys (user_id, created_at DESC, id DESC) WHERE revoked_at IS NULL")


def downgrade() -> None:
    op.execute("DROP TABLE api_keys")
    op.execute("DROP TABLE sessions")
    op.execute("DROP TABLE users")
