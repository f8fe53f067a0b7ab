"""Where the database is and what signs the tokens."""

from __future__ import annotations

import os

DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "").replace("postgresql://", "postgresql+asyncpg://", 1)
SECRET = os.environ.get("BENCH_SECRET", "")
ALGORITHM = "HS256"
POOL_SIZE = 16
