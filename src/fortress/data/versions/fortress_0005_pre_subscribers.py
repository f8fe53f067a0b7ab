"""How far each subscriber has come in the log, and the facts that it could not handle."""

from __future__ import annotations

from alembic import op

revision = "fortress_0005_pre_subscribers"
down_revision = "fortress_0004_pre_jobs"
branch_labels = None
depends_on = None

# Half-empty pages keep the many updates of a place on their page.
_LANES = """
CREATE TABLE subscriber_lanes (
    subscriber TEXT NOT NULL,
    lane BIGINT NOT NULL,
    lanes BIGINT NOT NULL,
    tx XID8 NOT NULL,
    seq BIGINT NOT NULL,
    moved_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT pk_subscriber_lanes PRIMARY KEY (subscriber, lane)
) WITH (fillfactor = 50)"""

_PARKED = """
CREATE TABLE parked_facts (
    subscriber TEXT NOT NULL,
    tx XID8 NOT NULL,
    seq BIGINT NOT NULL,
    event_id UUID NOT NULL,
    event_at TIMESTAMPTZ NOT NULL,
    name TEXT NOT NULL,
    aggregate UUID NOT NULL,
    state TEXT NOT NULL,
    due TIMESTAMPTZ NOT NULL,
    failures BIGINT NOT NULL,
    error TEXT,
    CONSTRAINT pk_parked_facts PRIMARY KEY (subscriber, tx, seq),
    CONSTRAINT ck_parked_facts_state CHECK (state IN ('waiting', 'behind', 'dead'))
)"""


def upgrade() -> None:
    op.execute(_LANES)
    op.execute(_PARKED)
    op.execute("CREATE INDEX idx_parked_facts_aggregate ON parked_facts (subscriber, aggregate, tx, seq) WHERE state <> 'dead'")
    op.execute("CREATE INDEX idx_parked_facts_due ON parked_facts (subscriber, due) WHERE state = 'waiting'")


def downgrade() -> None:
    op.execute("DROP TABLE parked_facts, subscriber_lanes")
