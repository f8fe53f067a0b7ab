"""What is to be seen of jobs, and how long those are kept that ended badly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fortress.clock import FixedClock, SystemClock
from fortress.data import Database
from fortress.events.jobs import keeping
from fortress.events.jobs.keeping import Keeping
from fortress.events.jobs.watch import JobMetrics, QueueWatch
from fortress.telemetry.metrics import Metrics

Admin = Any


async def put(admin: Admin, status: str, days: float = 0, **more: object) -> int:
    """A job that has been so for so many days."""
    id: int = await admin.fetchval(
        f"INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at) VALUES ('t', 't', '{status}', $1) RETURNING id",
        more.get("at"),
    )
    await admin.execute("DELETE FROM procrastinate_events WHERE job_id = $1", id)
    await admin.execute(
        "INSERT INTO procrastinate_events (job_id, type, at) VALUES ($1, 'failed', now() - $2::interval)", id, timedelta(days=days)
    )
    return id


def shown(metrics: Metrics) -> dict[str, float]:
    lines = metrics.render()[0].decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("fortress_job")}


async def test_the_queue_is_shown_by_state_and_by_the_age_of_its_oldest(database: Database, admin: Admin) -> None:
    metrics = Metrics()
    watch = QueueWatch(database, metrics)
    await watch.look()
    assert shown(metrics)["fortress_jobs_oldest_seconds"] == 0
    await put(admin, "todo", days=0.5)
    await put(admin, "todo")
    await put(admin, "todo", at=datetime(2100, 1, 1, tzinfo=UTC))
    for _ in range(3):
        await put(admin, "failed")
    await watch.look()
    found = shown(metrics)
    states = {state: found[f'fortress_jobs{{state="{state}"}}'] for state in ("waiting", "delayed", "running", "dead")}
    assert states == {"waiting": 2, "delayed": 1, "running": 0, "dead": 3}
    assert 43_200 <= found["fortress_jobs_oldest_seconds"] < 43_300


async def test_ends_are_counted_by_job() -> None:
    metrics = Metrics()
    counted = JobMetrics(metrics, ["a.b"])
    counted.ran("a.b", 0.02)
    counted.failed("a.b")
    counted.failed("of.another.release")
    counted.died("a.b")
    counted.died("of.another.release")
    found = shown(metrics)
    assert found['fortress_job_seconds_count{job="a.b"}'] == found['fortress_job_failures_total{job="a.b"}'] == 1
    assert found['fortress_job_deaths_total{job="a.b"}'] == 1


async def test_what_ended_badly_is_kept_for_its_days_and_what_waits_for_ever(database: Database, admin: Admin, monkeypatch: Any) -> None:
    monkeypatch.setattr(keeping, "BATCH", 2)
    monkeypatch.setattr(keeping, "PAUSE", 0)
    kept = [await put(admin, status, days=29) for status in ("failed", "cancelled", "aborted")]
    kept += [await put(admin, status, days=400) for status in ("todo", "doing")]
    for _ in range(5):
        await put(admin, "failed", days=31)
    await Keeping(database, SystemClock(), 30).run()
    assert [row["id"] for row in await admin.fetch("SELECT id FROM procrastinate_jobs ORDER BY id")] == kept
    await Keeping(database, FixedClock(datetime.now(UTC) + timedelta(days=2)), 30).run()
    assert await admin.fetchval("SELECT count(*) FROM procrastinate_jobs") == 2
