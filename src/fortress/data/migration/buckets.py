"""The limiter's table, as a model: the limiter speaks to it in SQL of its own."""

from __future__ import annotations

import sqlalchemy as sa


def limit_buckets() -> sa.Table:
    """One row per bucket. UNLOGGED: after a crash it is empty, which only forgives what was counted."""
    return sa.Table(
        "limit_buckets",
        sa.MetaData(),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("tat", sa.BigInteger, nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("granted", sa.Integer, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="limit_buckets_pkey"),
        info={"unlogged": True},
    )
