"""The wrapped keys of people, and of blind indexes."""

from __future__ import annotations

from alembic import op

revision = "fortress_0002_pre_personal_keys"
down_revision = "fortress_0001_pre_create"
branch_labels = None
depends_on = None

_DATA_KEYS = """
CREATE TABLE data_keys (
    id UUID NOT NULL,
    subject UUID NOT NULL,
    version BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BYTEA,
    created_at TIMESTAMPTZ NOT NULL,
    destroyed_at TIMESTAMPTZ,
    CONSTRAINT pk_data_keys PRIMARY KEY (id)
)"""

_INDEX_KEYS = """
CREATE TABLE index_keys (
    id UUID NOT NULL,
    purpose TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_index_keys PRIMARY KEY (id),
    CONSTRAINT ck_index_keys_state CHECK ("state" IN ('next', 'active', 'retired'))
)"""


def upgrade() -> None:
    op.execute(_DATA_KEYS)
    op.execute("CREATE UNIQUE INDEX data_keys_subject_version ON data_keys (subject, version)")
    op.execute("CREATE INDEX idx_data_keys_key ON data_keys (key_id) WHERE wrapped IS NOT NULL")
    op.execute(_INDEX_KEYS)
    op.execute("CREATE UNIQUE INDEX index_keys_purpose_version ON index_keys (purpose, version)")
    op.execute("CREATE UNIQUE INDEX index_keys_active ON index_keys (purpose) WHERE state = 'active'")


def downgrade() -> None:
    op.execute("DROP TABLE index_keys")
    op.execute("DROP TABLE data_keys")
