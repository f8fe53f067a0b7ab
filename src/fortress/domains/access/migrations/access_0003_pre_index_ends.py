"""Finds the roles that have ended."""

from __future__ import annotations

from fortress.data.migration.operations import create_index_concurrently, drop_index_concurrently

revision = "access_0003_pre_index_ends"
down_revision = "access_0002_pre_custom_roles"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index_concurrently("idx_role_holders_ends", "role_holders", "(ends_at) WHERE ends_at IS NOT NULL")


def downgrade() -> None:
    drop_index_concurrently("idx_role_holders_ends")
