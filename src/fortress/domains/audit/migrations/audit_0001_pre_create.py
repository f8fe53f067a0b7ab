"""The seals of the audit log."""

from __future__ import annotations

from alembic import op

revision = "audit_0001_pre_create"
down_revision = None
branch_labels = ("audit",)
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE audit_seals (
            number BIGINT NOT NULL,
            sealed_at TIMESTAMPTZ NOT NULL,
            previous BYTEA NOT NULL,
            first_at TIMESTAMPTZ NOT NULL,
            last_at TIMESTAMPTZ NOT NULL,
            last_tx BIGINT NOT NULL,
            last_seq BIGINT NOT NULL,
            last_id UUID NOT NULL,
            row_ids UUID[] NOT NULL,
            row_hashes BYTEA NOT NULL,
            hash BYTEA NOT NULL,
            key_id BIGINT NOT NULL,
            mac BYTEA NOT NULL,
            CONSTRAINT pk_audit_seals PRIMARY KEY (number),
            CONSTRAINT ck_audit_seals_number CHECK (number >= 1)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE audit_seals")
