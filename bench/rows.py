"""The rows of the table: what is measured, and what it must reach."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec


class Sense(Enum):
    """Which side of its bar a figure must be on."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


class Verdict(Enum):
    """What became of a row."""

    STRETCH = "stretch"
    PASS = "pass"
    UNDER = "UNDER"
    MISSING = "not run"


class Row(msgspec.Struct, frozen=True):
    """One line of the table.

    Attributes:
        key: its name on the command line.
        bar: what it must reach.
        stretch: what is aimed at; None where there is nothing more to gain.
        issue: the issue whose bar it is; only the asked issues' rows decide the exit code.
        unit: of the figure; empty for ratios and counts.
    """

    key: str
    title: str
    sense: Sense
    bar: float
    stretch: float | None
    issue: int
    unit: str = ""

    def reaches(self, value: float, mark: float) -> bool:
        return value <= mark if self.sense is Sense.AT_MOST else value >= mark

    def verdict(self, value: float) -> Verdict:
        """What a figure means for this row; a value equal to a mark reaches it."""
        if self.stretch is not None and self.reaches(value, self.stretch):
            return Verdict.STRETCH
        return Verdict.PASS if self.reaches(value, self.bar) else Verdict.UNDER


class Figure(msgspec.Struct, frozen=True):
    """What was measured for a row.

    Attributes:
        value: the median.
        low, high: the quartiles around it.
        detail: the numbers that it was made of, for those who read on.
    """

    key: str
    value: float
    low: float
    high: float
    detail: dict[str, float | str] = {}


class Missing(msgspec.Struct, frozen=True):
    """A row that could not be measured here, and why."""

    key: str
    why: str


Outcome = Figure | Missing

FOUNDATION: Final = 2
HOT_PATH: Final = 3
IDENTITY: Final = 4
API: Final = 5
FACTS: Final = 6

ROWS: Final = (
    Row("guarded-get", "guarded GET / bare FastAPI route, CPU", Sense.AT_MOST, 0.60, 0.45, FOUNDATION),
    Row("by-id", "get by id / asyncpg pool fetchrow, CPU", Sense.AT_MOST, 0.60, 0.40, FOUNDATION),
    Row("list-50", "50 rows to JSON / asyncpg pool fetch, CPU", Sense.AT_MOST, 0.90, 0.50, FOUNDATION),
    Row("order-trips", "place order, PostgreSQL round trips", Sense.AT_MOST, 5, 3, FOUNDATION),
    Row("limit-trips", "store round trips per limited request", Sense.AT_MOST, 0.1, 0.02, FOUNDATION),
    Row("routes-1000", "gate with 1,000 routes / with 30", Sense.AT_MOST, 1.1, 1.0, FOUNDATION),
    Row("start", "start to first 200, embedded database", Sense.AT_MOST, 3.0, 1.5, FOUNDATION, "s"),
    Row("memory", "one worker after 10,000 requests, RSS", Sense.AT_MOST, 130, None, FOUNDATION, "MB"),
    Row("login-flood", "another route's p99 under 200 logins at once", Sense.AT_MOST, 50, 20, FOUNDATION, "ms"),
    Row("api-key", "guarded GET by API key / by access token, CPU", Sense.AT_MOST, 1.1, 1.0, IDENTITY),
    Row("people-50", "page of 50 people, encrypted / plain columns, CPU", Sense.AT_MOST, 1.5, 1.25, IDENTITY),
    Row("jobs", "jobs per second and worker process", Sense.AT_LEAST, 350, 1000, FACTS),
    Row("cache-hit", "cached page of 50 from memory, CPU", Sense.AT_MOST, 5, 2, FACTS, "µs"),
    Row("cached-get", "cached guarded GET / guarded constant, CPU", Sense.AT_MOST, 1.1, 1.05, FACTS),
    Row("fact-p50", "fact to handler started, idle, p50", Sense.AT_MOST, 20, 10, FACTS, "ms"),
    Row("fact-p99", "fact to handler started, idle, p99", Sense.AT_MOST, 100, 30, FACTS, "ms"),
    Row("fact-rate", "facts per second through a subscriber that writes a row each", Sense.AT_LEAST, 8000, 12_000, FACTS),
    Row("order-facts", "order with fact, audit and two subscribers / without", Sense.AT_MOST, 1.15, 1.1, FACTS),
    Row("export-memory", "1,000,000 rows exported, RSS above the idle server's", Sense.AT_MOST, 50, 20, API, "MB"),
    Row("relay", "facts relayed to NATS JetStream per second", Sense.AT_LEAST, 5000, 10_000, FACTS),
    Row("read-fastapi", "HTTP read by id: FastAPI stack / ours", Sense.AT_LEAST, 10, 18, HOT_PATH),
    Row("page-fastapi", "HTTP page of 50: FastAPI stack / ours", Sense.AT_LEAST, 10, 18, HOT_PATH),
    Row("order-fastapi", "HTTP place order: FastAPI stack / ours", Sense.AT_LEAST, 4, 8, HOT_PATH),
    Row("read-fastify", "HTTP read by id: Fastify / ours", Sense.AT_LEAST, 1.0, 1.3, HOT_PATH),
    Row("page-fastify", "HTTP page of 50: Fastify / ours", Sense.AT_LEAST, 1.0, 1.3, HOT_PATH),
    Row("order-fastify", "HTTP place order: Fastify / ours", Sense.AT_LEAST, 1.0, 1.3, HOT_PATH),
    Row("refresh", "rotating refreshes per vCPU and second", Sense.AT_LEAST, 300, 600, HOT_PATH),
    Row("logins", "logins / what argon2 alone allows", Sense.AT_LEAST, 0.85, 0.95, HOT_PATH),
)


def row(key: str) -> Row:
    """The row of this name.

    Raises:
        KeyError: there is none.
    """
    return {each.key: each for each in ROWS}[key]
