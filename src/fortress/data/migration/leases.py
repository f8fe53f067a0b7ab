"""The brokers' leases, as a model: relay and inbox speak to the table in SQL of their own."""

from __future__ import annotations

import sqlalchemy as sa

from fortress.data.columns import SqlType


def broker_leases() -> sa.Table:
    """One row per stream that is written or read, with how far."""
    return sa.Table(
        "broker_leases",
        sa.MetaData(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Uuid),
        sa.Column("held_until", sa.TIMESTAMP(timezone=True)),
        sa.Column("tx", SqlType("xid8")),
        sa.Column("seq", sa.BigInteger),
        sa.Column("cursor", sa.Text),
        sa.Column("moved_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("name", name="broker_leases_pkey"),
    )
