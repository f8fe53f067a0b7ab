"""The books: what was sold."""

from __future__ import annotations

from alembic import op

revision = "orders_0004_pre_sales"
down_revision = "orders_0003_pre_placed"
branch_labels = None
depends_on = None

_SALES = """
CREATE TABLE sales (
    id UUID NOT NULL,
    total NUMERIC(12, 2) NOT NULL,
    sold_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_sales PRIMARY KEY (id)
)"""


def upgrade() -> None:
    op.execute(_SALES)
    op.execute("CREATE INDEX idx_sales_sold ON sales (sold_at DESC, id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE sales")
