"""Products with their stock, and orders."""

from __future__ import annotations

from alembic import op

revision = "orders_0001_pre_create"
down_revision = None
branch_labels = ("orders",)
depends_on = None

_PRODUCTS = """
CREATE TABLE products (
    id UUID NOT NULL,
    sku TEXT NOT NULL,
    name TEXT NOT NULL,
    price NUMERIC(12, 2) NOT NULL,
    stock BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_products PRIMARY KEY (id),
    CONSTRAINT ck_products_sku CHECK (char_length("sku") <= 40),
    CONSTRAINT ck_products_name CHECK (char_length("name") <= 200),
    CONSTRAINT ck_products_stock CHECK (stock >= 0)
)"""

_ORDERS = """
CREATE TABLE orders (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    status TEXT NOT NULL,
    total NUMERIC(12, 2) NOT NULL,
    lines JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (id),
    CONSTRAINT ck_orders_status CHECK ("status" IN ('placed', 'shipped', 'cancelled'))
)"""


def upgrade() -> None:
    op.execute(_PRODUCTS)
    op.execute("CREATE UNIQUE INDEX products_sku_key ON products (sku)")
    op.execute("CREATE INDEX idx_products_created ON products (created_at DESC, id DESC)")
    op.execute(_ORDERS)
    op.execute("CREATE INDEX idx_orders_user_created ON orders (user_id, created_at DESC, id DESC)")
    op.execute("CREATE INDEX idx_orders_created ON orders (created_at DESC, id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE orders")
    op.execute("DROP TABLE products")
