"""Keys that are rotated and bound to networks, and service accounts."""

from __future__ import annotations

from alembic import op

revision = "identity_0004_pre_keys"
down_revision = "identity_0003_pre_factors"
branch_labels = None
depends_on = None

_SERVICES = """
CREATE TABLE service_accounts (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    made_by UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    disabled_at TIMESTAMPTZ,
    version BIGINT NOT NULL,
    CONSTRAINT pk_service_accounts PRIMARY KEY (id),
    CONSTRAINT ck_service_accounts_name CHECK (char_length("name") <= 80)
)"""


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD COLUMN networks TEXT[] NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE api_keys ADD COLUMN rotated_at TIMESTAMPTZ")
    op.execute("ALTER TABLE api_keys ADD COLUMN previous_digest BYTEA")
    op.execute("ALTER TABLE api_keys ADD COLUMN previous_until TIMESTAMPTZ")
    op.execute("ALTER TABLE api_keys ADD COLUMN previous_used_at TIMESTAMPTZ")
    op.execute(_SERVICES)
    op.execute("CREATE UNIQUE INDEX service_accounts_name_key ON service_accounts (name)")
    op.execute("CREATE INDEX idx_service_accounts_created ON service_accounts (created_at DESC, id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE service_accounts")
    op.execute("ALTER TABLE api_keys DROP COLUMN previous_used_at")
    op.execute("ALTER TABLE api_keys DROP COLUMN previous_until")
    op.execute("ALTER TABLE api_keys DROP COLUMN previous_digest")
    op.execute("ALTER TABLE api_keys DROP COLUMN rotated_at")
    op.execute("ALTER TABLE api_keys DROP COLUMN networks")
