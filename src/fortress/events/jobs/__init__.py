"""Jobs at work: taken from the queue, run, tried again, given back and kept when they are dead."""

from fortress.events.jobs.ending import JobObserver
from fortress.events.jobs.progress import Once, Progress
from fortress.events.jobs.running import GiveUp, Runner
from fortress.events.jobs.schedule import Schedule
from fortress.events.jobs.store import JobStore
from fortress.events.jobs.worker import Worker

__all__ = ["GiveUp", "JobObserver", "JobStore", "Once", "Progress", "Runner", "Schedule", "Worker"]
