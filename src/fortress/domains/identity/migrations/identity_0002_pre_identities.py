"""Who people are elsewhere, and sign-ins with others that are under way."""

from __future__ import annotations

from alembic import op

revision = "identity_0002_pre_identities"
down_revision = "identity_0001_pre_create"
branch_labels = None
depends_on = None

_IDENTITIES = """
CREATE TABLE identities (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ,
    CONSTRAINT pk_identities PRIMARY KEY (id),
    CONSTRAINT ck_identities_provider CHECK (char_length(provider) <= 32),
    CONSTRAINT ck_identities_issuer CHECK (char_length(issuer) <= 500),
    CONSTRAINT ck_identities_subject CHECK (char_length(subject) <= 255)
)"""

_FLOWS = """
CREATE TABLE provider_flows (
    id UUID NOT NULL,
    state_digest BYTEA NOT NULL,
    browser_digest BYTEA NOT NULL,
    provider TEXT NOT NULL,
    purpose TEXT NOT NULL,
    max_age BIGINT,
    return_to TEXT NOT NULL,
    user_id UUID,
    session_id UUID,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_provider_flows PRIMARY KEY (id),
    CONSTRAINT ck_provider_flows_provider CHECK (char_length(provider) <= 32),
    CONSTRAINT ck_provider_flows_purpose CHECK (purpose IN ('sign_in', 'link')),
    CONSTRAINT ck_provider_flows_return_to CHECK (char_length(return_to) <= 200)
)"""


def upgrade() -> None:
    op.execute(_IDENTITIES)
    op.execute("CREATE UNIQUE INDEX identities_issuer_subject ON identities (issuer, subject)")
    op.execute("CREATE INDEX idx_identities_user ON identities (user_id, created_at, id)")
    op.execute(_FLOWS)
    op.execute("CREATE UNIQUE INDEX provider_flows_state ON provider_flows (state_digest)")
    op.execute("CREATE INDEX idx_provider_flows_expires ON provider_flows (expires_at)")


def downgrade() -> None:
    op.execute("DROP TABLE provider_flows")
    op.execute("DROP TABLE identities")
