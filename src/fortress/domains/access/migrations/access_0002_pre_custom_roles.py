"""Roles made at run time, roles that end by themselves, and which grants people use."""

from __future__ import annotations

from alembic import op

revision = "access_0002_pre_custom_roles"
down_revision = "access_0001_pre_create"
branch_labels = None
depends_on = None

_ROLES = """
CREATE TABLE custom_roles (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    grants TEXT[] NOT NULL,
    second_factor BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_custom_roles PRIMARY KEY (id),
    CONSTRAINT ck_custom_roles_form CHECK (name ~ '^[a-z][a-z0-9-]{1,59}$'),
    CONSTRAINT ck_custom_roles_title CHECK (char_length("title") <= 120)
)"""

_USES = """
CREATE TABLE permission_uses (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    grant_name TEXT NOT NULL,
    last_used DATE NOT NULL,
    CONSTRAINT pk_permission_uses PRIMARY KEY (id),
    CONSTRAINT ck_permission_uses_grant_name CHECK (char_length("grant_name") <= 200),
    CONSTRAINT fk_permission_uses_user_id FOREIGN KEY (user_id) REFERENCES role_holders (user_id) ON DELETE CASCADE
)"""


def upgrade() -> None:
    op.execute("ALTER TABLE role_holders ADD COLUMN expires JSONB NOT NULL DEFAULT '{}'::jsonb")
    op.execute("ALTER TABLE role_holders ADD COLUMN ends_at TIMESTAMPTZ")
    op.execute(_ROLES)
    op.execute("CREATE UNIQUE INDEX custom_roles_name_key ON custom_roles (name)")
    op.execute(_USES)
    op.execute("CREATE UNIQUE INDEX permission_uses_user_grant_key ON permission_uses (user_id, grant_name)")


def downgrade() -> None:
    op.execute("DROP TABLE permission_uses")
    op.execute("DROP TABLE custom_roles")
    op.execute("ALTER TABLE role_holders DROP COLUMN ends_at")
    op.execute("ALTER TABLE role_holders DROP COLUMN expires")
