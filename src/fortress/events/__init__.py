"""Facts and jobs: what has happened, told to whoever follows the log, and work that is done later."""

from fortress.events.event import Event
from fortress.events.jobs.progress import Once, Progress
from fortress.events.jobs.running import GiveUp
from fortress.events.subscribers import Subscriber, on
from fortress.fact import Fact
from fortress.job import HIGH, LOW, NORMAL, Job, Priority, cron, every, job
from fortress.retry import Retry, backoff

__all__ = [
    "HIGH",
    "LOW",
    "NORMAL",
    "Event",
    "Fact",
    "GiveUp",
    "Job",
    "Once",
    "Priority",
    "Progress",
    "Retry",
    "Subscriber",
    "backoff",
    "cron",
    "every",
    "job",
    "on",
]
