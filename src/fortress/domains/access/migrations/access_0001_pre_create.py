"""Who holds which roles."""

from __future__ import annotations

from alembic import op

revision = "access_0001_pre_create"
down_revision = None
branch_labels = ("access",)
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE role_holders (
            user_id UUID NOT NULL,
            roles TEXT[] NOT NULL,
            suspended BOOLEAN NOT NULL,
            changed_at TIMESTAMPTZ NOT NULL,
            version BIGINT NOT NULL,
            CONSTRAINT pk_role_holders PRIMARY KEY (user_id)
        )
        """
    )
    op.execute("CREATE INDEX idx_role_holders_administrators ON role_holders (user_id) WHERE 'admin' = ANY (roles) AND NOT suspended")


def downgrade() -> None:
    op.execute("DROP TABLE role_holders")
