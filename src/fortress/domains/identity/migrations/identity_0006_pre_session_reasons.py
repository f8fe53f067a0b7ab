"""The reasons for which sessions end are checked in full; the rows there were had kept a narrower promise."""

from __future__ import annotations

from alembic import op

revision = "identity_0006_pre_session_reasons"
down_revision = "identity_0005_pre_recovery"
branch_labels = None
depends_on = None

_REASONS = "'sign_out', 'owner', 'password_change', 'administrator', 'reuse', 'factor_change', 'proved_anew', 'too_many'"


def upgrade() -> None:
    op.execute("ALTER TABLE sessions VALIDATE CONSTRAINT ck_sessions_ended_by")


def downgrade() -> None:
    op.execute("ALTER TABLE sessions DROP CONSTRAINT ck_sessions_ended_by")
    op.execute(f"ALTER TABLE sessions ADD CONSTRAINT ck_sessions_ended_by CHECK (ended_by IN ({_REASONS})) NOT VALID")
