"""The subscribers' places and parked facts, as models: those who follow the log speak to the tables in SQL of their own."""

from __future__ import annotations

import sqlalchemy as sa

from fortress.data.columns import SqlType


def subscriber_lanes() -> sa.Table:
    """One row for each lane of a subscriber, with how far it has come."""
    return sa.Table(
        "subscriber_lanes",
        sa.MetaData(),
        sa.Column("subscriber", sa.Text, nullable=False),
        sa.Column("lane", sa.BigInteger, nullable=False),
        sa.Column("lanes", sa.BigInteger, nullable=False),
        sa.Column("tx", SqlType("xid8"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("moved_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("subscriber", "lane", name="pk_subscriber_lanes"),
        postgresql_with={"fillfactor": 50},
    )


def parked_facts() -> sa.Table:
    """One row for each fact that a subscriber could not handle, or that waits behind such a one."""
    table = sa.Table(
        "parked_facts",
        sa.MetaData(),
        sa.Column("subscriber", sa.Text, nullable=False),
        sa.Column("tx", SqlType("xid8"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("event_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("aggregate", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("subscriber", "tx", "seq", name="pk_parked_facts"),
        sa.CheckConstraint("state IN ('waiting', 'behind', 'dead')", name="ck_parked_facts_state"),
    )
    columns = table.c
    sa.Index(
        "idx_parked_facts_aggregate", columns.subscriber, columns.aggregate, columns.tx, columns.seq,
        postgresql_where=sa.text("state <> 'dead'"),
    )  # fmt: skip
    sa.Index("idx_parked_facts_due", columns.subscriber, columns.due, postgresql_where=sa.text("state = 'waiting'"))
    return table
