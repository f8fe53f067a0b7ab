"""What lists are narrowed and sorted by."""

from __future__ import annotations

from fortress.data.migration.operations import create_index_concurrently, drop_index_concurrently

revision = "orders_0005_pre_lists"
down_revision = "orders_0004_pre_sales"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently("idx_products_name", "products", "(name, id)")
    create_index_concurrently("idx_products_price", "products", "(price, id)")
    create_index_concurrently("idx_orders_status", "orders", "(status, created_at DESC, id DESC)")


def downgrade() -> None:
    drop_index_concurrently("idx_orders_status")
    drop_index_concurrently("idx_products_price")
    drop_index_concurrently("idx_products_name")
