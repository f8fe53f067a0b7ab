"""Entries and effects, both without any constraint that would hide a fault."""

from __future__ import annotations

from alembic import op

revision = "ledger_0001_pre_create"
down_revision = None
branch_labels = ("ledger",)
depends_on = None

_ENTRIES = """
CREATE TABLE entries (
    id UUID NOT NULL,
    account UUID NOT NULL,
    number BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_entries PRIMARY KEY (id)
)"""
_EFFECTS = """
CREATE TABLE effects (
    id UUID NOT NULL,
    place TEXT NOT NULL,
    account UUID NOT NULL,
    number BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT pk_effects PRIMARY KEY (id),
    CONSTRAINT ck_effects_place CHECK (char_length("place") <= 40)
)"""


def upgrade() -> None:
    op.execute(_ENTRIES)
    op.execute(_EFFECTS)


def downgrade() -> None:
    op.execute("DROP TABLE effects")
    op.execute("DROP TABLE entries")
