"""Small orders, the stock that they take, and what comes of their facts."""

from __future__ import annotations

from alembic import op

revision = "bench_0002_pre_orders"
down_revision = "bench_0001_pre_people"
branch_labels = None
depends_on = None


TABLES = {
    "bench_stock": '"left" BIGINT NOT NULL',
    "bench_orders": "buyer UUID NOT NULL, total TEXT NOT NULL",
    "bench_effects": '"order" UUID NOT NULL',
}


def upgrade() -> None:
    for table, columns in TABLES.items():
        op.execute(f"CREATE TABLE {table} (id UUID NOT NULL, {columns}, CONSTRAINT pk_{table} PRIMARY KEY (id))")
    op.execute("INSERT INTO bench_stock VALUES ('00000000-0000-0000-0000-000000000001', 1000000000)")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
