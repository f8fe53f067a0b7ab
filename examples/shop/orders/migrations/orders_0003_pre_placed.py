"""Finds what nobody has paid for yet."""

from __future__ import annotations

from fortress.data.migration.operations import create_index_concurrently, drop_index_concurrently

revision = "orders_0003_pre_placed"
down_revision = "orders_0002_pre_note"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently("idx_orders_placed", "orders", "(created_at) WHERE status = 'placed'")


def downgrade() -> None:
    drop_index_concurrently("idx_orders_placed")
