"""Jobs: procrastinate's schema, indexes that it lacks, and what a job reports of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from alembic import op

revision = "fortress_0004_pre_jobs"
down_revision = "fortress_0003_pre_broker_leases"
branch_labels = None
depends_on = None

_SCHEMA = Path(__file__).with_name("procrastinate_3_10.sql")
# The types of its columns are procrastinate's to choose.
_LINTED = "-- squawk-ignore-file prefer-text-field, prefer-identity, prefer-bigint-over-int\n"

_REPORTS = """
CREATE TABLE job_reports (
    job_id BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    done BIGINT,
    total BIGINT,
    message TEXT,
    error TEXT,
    CONSTRAINT pk_job_reports PRIMARY KEY (job_id),
    CONSTRAINT fk_job_reports_job FOREIGN KEY (job_id) REFERENCES procrastinate_jobs (id) ON DELETE CASCADE
)"""

_MARKS = """
CREATE TABLE job_marks (
    job_id BIGINT NOT NULL,
    step TEXT NOT NULL,
    CONSTRAINT pk_job_marks PRIMARY KEY (job_id, step),
    CONSTRAINT fk_job_marks_job FOREIGN KEY (job_id) REFERENCES procrastinate_jobs (id) ON DELETE CASCADE
)"""

# Every job is an insert, an update and a delete: what is dead must not lie in the way of who looks for the next one.
_VACUUM = "SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05)"

_INDEXES = (
    # What may begin now, in the order in which it does; what waits for a time is not in the way of looking.
    "idx_jobs_ready ON procrastinate_jobs (priority DESC, id) WHERE status = 'todo' AND scheduled_at IS NULL",
    "idx_jobs_due ON procrastinate_jobs (scheduled_at) WHERE status = 'todo' AND scheduled_at IS NOT NULL",
    "idx_jobs_lock ON procrastinate_jobs (lock, priority DESC, id) WHERE lock IS NOT NULL AND status IN ('todo', 'doing')",
    "idx_jobs_ended ON procrastinate_jobs (status, id) WHERE status NOT IN ('todo', 'doing')",
)


def upgrade() -> None:
    for statement in _statements(_SCHEMA.read_text("utf-8")):
        op.execute(_LINTED + statement)
    for table in ("procrastinate_jobs", "procrastinate_events"):
        op.execute(f"ALTER TABLE {table} {_VACUUM}")
    for index in _INDEXES:
        op.execute(f"CREATE INDEX {index}")
    op.execute(_REPORTS)
    op.execute(_MARKS)


def downgrade() -> None:
    op.execute("DROP TABLE job_marks, job_reports")
    made = re.findall(r"^CREATE (TABLE|FUNCTION|TYPE) (\w+)", _SCHEMA.read_text("utf-8"), re.MULTILINE)
    for kind in ("FUNCTION", "TABLE", "TYPE"):
        names = [name for what, name in reversed(made) if what == kind]
        for name in names:
            op.execute(f"DROP {kind} {name} CASCADE")


def _statements(script: str) -> Iterator[str]:
    """One after another: a semicolon ends one, but not within the body of a function."""
    lines = list[str]()
    quoted = False
    for line in script.splitlines():
        if line.startswith("--") or not (line or quoted):
            continue
        lines.append(line)
        quoted ^= line.count("$$") % 2 == 1
        if line.endswith(";") and not quoted:
            yield "\n".join(lines).removesuffix(";")
            lines.clear()
