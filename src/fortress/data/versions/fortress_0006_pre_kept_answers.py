"""Answers to requests that may come twice, and the claim by which the second is known."""

from __future__ import annotations

from alembic import op

from fortress.data.migration.operations import create_default_partition

revision = "fortress_0006_pre_kept_answers"
down_revision = "fortress_0005_pre_subscribers"
branch_labels = None
depends_on = None

_ANSWERS = """
CREATE TABLE kept_answers (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    scope BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    status BIGINT NOT NULL,
    headers JSONB NOT NULL,
    body BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_kept_answers PRIMARY KEY (created_at, id)
) PARTITION BY RANGE (created_at)"""

# Two statements within one round trip: the second sees what was committed before the lock was had.
_CLAIM = """
CREATE FUNCTION fortress_claim(asked BYTEA, since TIMESTAMPTZ) RETURNS TABLE (state TEXT, fingerprint BYTEA) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(('x' || encode(substr(asked, 1, 8), 'hex'))::bit(64)::bigint) THEN
        RETURN QUERY SELECT 'busy'::text, NULL::bytea;
        RETURN;
    END IF;
    RETURN QUERY SELECT 'known'::text, kept.fingerprint FROM kept_answers AS kept
        WHERE kept.scope = asked AND kept.created_at > since ORDER BY kept.created_at DESC LIMIT 1;
END $$"""


def upgrade() -> None:
    op.execute(_ANSWERS)
    op.execute("CREATE INDEX idx_kept_answers_scope ON kept_answers (scope, created_at DESC)")
    create_default_partition("kept_answers")
    op.execute(_CLAIM)


def downgrade() -> None:
    op.execute("DROP FUNCTION fortress_claim(BYTEA, TIMESTAMPTZ)")
    op.execute("DROP TABLE kept_answers")
