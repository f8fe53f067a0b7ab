"""What is to be seen of the subscribers: how far behind they are, what they could not handle, and what holds them back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from fortress.clock import Clock
from fortress.data import Database
from fortress.events.following.followers import Following
from fortress.events.following.log import FactLog
from fortress.security.principal import SYSTEM
from fortress.telemetry.instruments import Merge
from fortress.telemetry.metrics import Metrics

WATCH_SECONDS: Final = 15.0
# Counted no further: an alarm is raised long before.
MOST_COUNTED: Final = 100_000
_log = structlog.get_logger("fortress.subscribers")

COUNTS: Final = f"""
WITH low AS (SELECT tx, seq FROM subscriber_lanes WHERE subscriber = $1 ORDER BY tx, seq LIMIT 1)
SELECT
    (SELECT count(*) FROM (
        SELECT FROM events WHERE (tx, seq) > ((SELECT tx FROM low), (SELECT seq FROM low)) AND name = ANY($2::text[])
        ORDER BY tx, seq LIMIT {MOST_COUNTED}) AS counted) AS behind,
    (SELECT count(*) FROM parked_facts WHERE subscriber = $1 AND state <> 'dead') AS parked,
    (SELECT count(*) FROM parked_facts WHERE subscriber = $1 AND state = 'dead') AS dead"""  # noqa: S608 (constants only)


def watch_followers(all_of_them: Sequence[Following], metrics: Metrics, clock: Clock) -> None:
    """Show what the followers of this process do."""
    for following in all_of_them:
        _watch(following, metrics, clock)


def _watch(following: Following, metrics: Metrics, clock: Clock) -> None:
    one, labels = following.follower, {"subscriber": following.follower.name}
    metrics.tally("subscriber_handled_total", "Facts that a subscriber has handled.", lambda: one.handled, labels)
    metrics.tally("subscriber_failures_total", "Times that a subscriber failed on a single fact.", lambda: one.failed, labels)
    metrics.tally("subscriber_deaths_total", "Facts that a subscriber gave up.", lambda: one.died, labels)
    metrics.watch(
        "subscriber_lag_seconds",
        "Age of the oldest fact that a subscriber has not handled, parked ones aside.",
        lambda: _age(following.look.oldest or following.look.held, clock),
        labels,
        Merge.MAX,
    )
    metrics.watch(
        "subscriber_held_seconds",
        "Age of the oldest fact that a subscriber may not read yet, as an older transaction is still open.",
        lambda: _age(following.look.held, clock),
        labels,
        Merge.MAX,
    )


def _age(at: datetime | None, clock: Clock) -> float:
    return 0.0 if at is None else max(0.0, (clock.now() - at).total_seconds())


class LogWatch:
    """Shows how much each subscriber has before it, which all processes see alike."""

    def __init__(self, database: Database, logs: Sequence[FactLog], metrics: Metrics) -> None:
        self._database = database
        self._logs = logs
        about = {"behind": "Facts that a subscriber has yet to handle.", "parked": "Facts that it tries again.", "dead": "Facts given up."}
        self._gauges = {
            (log.subscriber.name, what): metrics.gauge(
                f"subscriber_{what}_facts", text, {"subscriber": log.subscriber.name}, Merge.MAX
            )
            for log in logs
            for what, text in about.items()
        }  # fmt: skip

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                _log.warning("subscribers.unwatched", error=type(error).__name__)
            await asyncio.sleep(WATCH_SECONDS)

    async def look(self) -> None:
        """Bring what is shown up to date."""
        reader = self._database.reader(SYSTEM)
        for log in self._logs:
            (row,) = await reader.rows(COUNTS, [log.subscriber.name, log.names])
            for what, count in row.items():
                self._gauges[log.subscriber.name, what].set(count)
