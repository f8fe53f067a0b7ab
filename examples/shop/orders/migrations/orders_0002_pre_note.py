"""What a buyer wants us to know, encrypted."""

from __future__ import annotations

from alembic import op

revision = "orders_0002_pre_note"
down_revision = "orders_0001_pre_create"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN note BYTEA")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DROP COLUMN note")
