"""Service accounts hold roles as people do, but for the administrator's and the one that everybody has."""

from __future__ import annotations

from alembic import op

revision = "access_0004_pre_services"
down_revision = "access_0003_pre_index_ends"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE role_holders ADD COLUMN service BOOLEAN NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE role_holders DROP COLUMN service")
