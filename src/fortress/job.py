"""Jobs: work for later, declared beside the domain whose work it is.

A job's parameters are of two kinds. What msgspec can read from JSON (ids, numbers, text, times, Structs, and lists of these) is
given by whoever enqueues it and kept with it; every other one is a service, found by its type when the job runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Literal, get_type_hints
from zlib import crc32

import msgspec
from croniter import croniter

from fortress.retry import Retry, backoff

Run = Callable[..., Awaitable[Any]]
Period = Literal["minute", "hour", "day", "week", "month"]

USUAL_RETRY: Final = backoff(times=8)
USUAL_SECONDS: Final = 300.0
# Where a domain's jobs and subscribers stand: a job that a use case enqueues beside it, for the service can't import its handlers.
_ROOMS: Final = ("handlers", "service")


class Priority(IntEnum):
    """Which job goes first when several wait."""

    LOW = -50
    NORMAL = 0
    HIGH = 50


LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH


class Terms(msgspec.Struct, frozen=True):
    """On what terms one job is enqueued.

    Attributes:
        after: how long to wait at least.
        at: when to begin at the earliest; not together with `after`.
        lock: jobs of one lock run one after another, in the order in which they were enqueued.
        key: while a job of this key waits, another one is not enqueued.
    """

    after: timedelta | None = None
    at: datetime | None = None
    lock: str | None = None
    key: str | None = None


class Job:
    """Work that is done later, at least once, by whichever process is free; `job`, `every` and `cron` make them.

    Attributes:
        name: `domain.function`; enqueued jobs are found by it, so it outlives a renaming by `name=`.
        run: the coroutine function.
        retry: how often it is tried again when it raises.
        priority: which goes first.
        seconds: how long one try may take.
        schedule: when it is enqueued by itself, as cron writes it (UTC); None: never.
        terms: on which `unit.enqueue` enqueues it.
    """

    def __init__(
        self, run: Run, *, name: str | None, retry: Retry, priority: Priority, seconds: float, schedule: str | None = None
    ) -> None:
        if not inspect.iscoroutinefunction(run):
            raise TypeError(f"{run.__qualname__} is no coroutine function, so it can't be a job")
        self.name = name or named(run)
        self.run = run
        self.retry = retry
        self.priority = priority
        self.seconds = seconds
        self.schedule = schedule
        self.terms = Terms()

    def __repr__(self) -> str:
        return f"<job {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Do the work here and now; for tests and other jobs."""
        return self.run(*args, **kwargs)

    def on(self, *, after: timedelta | None = None, at: datetime | None = None, lock: str | None = None, key: str | None = None) -> Job:
        """This job on these terms (see `Terms`): `unit.enqueue(remind.on(after=timedelta(days=1)), order_id=…)`.

        Raises:
            ValueError: both `after` and `at`, or a time without a zone.
        """
        if after is not None and at is not None:
            raise ValueError("a job waits for a time or until one, not both")
        if at is not None and at.tzinfo is None:
            raise ValueError("a time without a zone is not a moment")
        # Read once for all copies.
        _ = self.data
        made = copy(self)
        made.terms = Terms(after, at, lock, key)
        return made

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The parameters that are kept with an enqueued job, with their types; the others are services."""
        return {name: kind for name, kind in _typed(self.run).items() if _is_data(kind)}

    @cached_property
    def services(self) -> Mapping[str, Any]:
        """The other parameters, with their types; those with a default are left to it."""
        return {name: kind for name, kind in _typed(self.run).items() if name not in self.data and name not in self.optional}

    @cached_property
    def optional(self) -> frozenset[str]:
        """The parameters that have a default."""
        found = inspect.signature(self.run).parameters.values()
        return frozenset(one.name for one in found if one.default is not inspect.Parameter.empty)

    def kept(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is given, as JSON holds it.

        Raises:
            TypeError: a parameter is missing, or there is none of a name.
            msgspec.ValidationError: a value is not what its parameter says.
        """
        unknown, missing = given.keys() - self.data.keys(), self.data.keys() - self.optional - given.keys()
        if unknown or missing:
            problem = f"does not take {', '.join(sorted(unknown))}" if unknown else f"needs {', '.join(sorted(missing))}"
            raise TypeError(f"job {self.name} {problem}")
        kept = {name: msgspec.to_builtins(value) for name, value in given.items()}
        self.given(kept)
        return kept

    def given(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """The values that `kept` made JSON of. What this release knows no parameter for is left out.

        Raises:
            msgspec.ValidationError: a value is not what its parameter says.
        """
        return {name: msgspec.convert(value, self.data[name], strict=False) for name, value in kept.items() if name in self.data}


def job(
    *, retry: Retry = USUAL_RETRY, priority: Priority = NORMAL, seconds: float = USUAL_SECONDS, name: str | None = None
) -> Callable[[Run], Job]:
    """Declare a job: `unit.enqueue(it, …)` has it done after the commit, and never without it.

    It may run more than once (a process can die just before it says that it is done), so doing it twice must be as good as once.
    """

    def declare(run: Run) -> Job:
        return Job(run, name=name, retry=retry, priority=priority, seconds=seconds)

    return declare


def cron(
    schedule: str, *, retry: Retry = USUAL_RETRY, priority: Priority = NORMAL, seconds: float = USUAL_SECONDS, name: str | None = None
) -> Callable[[Run], Job]:
    """Declare a job that is enqueued by itself: `cron("30 3 * * *")`, in UTC. All its parameters are services.

    Each time is enqueued once, however many processes there are; a time at which none was running is not made up for.

    Raises:
        ValueError: this is no such schedule.
    """
    if not croniter.is_valid(schedule):
        raise ValueError(f"{schedule!r} is no schedule; five fields as in crontab, such as '30 3 * * *'")

    def declare(run: Run) -> Job:
        return Job(run, name=name, retry=retry, priority=priority, seconds=seconds, schedule=schedule)

    return declare


def every(
    period: Period, *, retry: Retry = USUAL_RETRY, priority: Priority = NORMAL, seconds: float = USUAL_SECONDS, name: str | None = None
) -> Callable[[Run], Job]:
    """As `cron`, once each minute, hour, day, week or month; when within it follows from the job's name, so that not all come at once.

    Raises:
        ValueError: no such period.
    """

    def declare(run: Run) -> Job:
        called = name or named(run)
        return cron(_spread(period, called), retry=retry, priority=priority, seconds=seconds, name=called)(run)

    return declare


def named(run: Run) -> str:
    """What a handler is called: by the domain in whose `handlers` or `service` it stands, and its own name."""
    *_, last = rooms = run.__module__.split(".")
    domain = next((before for before, room in pairwise(rooms) if room in _ROOMS), last)
    return f"{domain}.{run.__name__}"


def _spread(period: Period, name: str) -> str:
    chance = crc32(name.encode())
    minute, hour, day, weekday = chance % 60, chance // 60 % 24, chance // 1440 % 28 + 1, chance // 1440 % 7
    found = {
        "minute": "* * * * *",
        "hour": f"{minute} * * * *",
        "day": f"{minute} {hour} * * *",
        "week": f"{minute} {hour} * * {weekday}",
        "month": f"{minute} {hour} {day} * *",
    }.get(period)
    if found is None:
        raise ValueError(f"there is no period {period!r}; minute, hour, day, week, month, or cron(…)")
    return found


def _typed(run: Run) -> dict[str, Any]:
    hints = get_type_hints(run, include_extras=True)
    hints.pop("return", None)
    return hints


def _is_data(kind: Any) -> bool:
    """Whether a value of this type can be kept with a job."""
    try:
        return not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType)
    except TypeError:
        # Something in it can't be read back.
        return False
