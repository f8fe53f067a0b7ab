"""Who sends facts to a broker and who reads them, and how far."""

from __future__ import annotations

from alembic import op

revision = "fortress_0003_pre_broker_leases"
down_revision = "fortress_0002_pre_personal_keys"
branch_labels = None
depends_on = None

_LEASES = """
CREATE TABLE broker_leases (
    name TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    holder UUID,
    held_until TIMESTAMPTZ,
    tx XID8,
    seq BIGINT,
    cursor TEXT,
    moved_at TIMESTAMPTZ
)"""


def upgrade() -> None:
    op.execute(_LEASES)


def downgrade() -> None:
    op.execute("DROP TABLE broker_leases")
