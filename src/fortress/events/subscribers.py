"""Subscribers: what a domain does when something has happened."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final

from fortress.fact import Fact
from fortress.job import USUAL_RETRY, Run, named
from fortress.retry import Retry

LANES: Final = 8
MOST_LANES: Final = 256
USUAL_SECONDS: Final = 10.0


class Subscriber:
    """A handler that hears facts; `on` makes them.

    Attributes:
        name: `domain.function`; its place in the log is kept under it, so it outlives a renaming by `name=`.
        facts: what it hears; `Fact` itself stands for all.
        run: the coroutine function. Of its parameters one is the fact, one may be the Unit that its effects are part of, one may be
            the Event with all that is known of the fact; the others are services, found by their types.
        retry: how often a fact is tried again that it could not handle.
        lanes: into how many parts its work is cut, each with its own place in the log, so that several processes share it; facts
            of one aggregate are always in one lane.
        seconds: how long it may take over one fact.
        from_start: whether it hears what happened before it was first there.
    """

    def __init__(
        self,
        run: Run,
        facts: tuple[type[Fact], ...],
        *,
        name: str | None = None,
        retry: Retry = USUAL_RETRY,
        lanes: int = LANES,
        seconds: float = USUAL_SECONDS,
        from_start: bool = False,
    ) -> None:
        if not inspect.iscoroutinefunction(run):
            raise TypeError(f"{run.__qualname__} is no coroutine function, so it can't be a subscriber")
        if not facts:
            raise TypeError(f"{run.__qualname__} hears nothing: @on(SomeFact)")
        if not 1 <= lanes <= MOST_LANES:
            raise ValueError(f"a subscriber has 1 to {MOST_LANES} lanes")
        self.name = name or named(run)
        self.facts = facts
        self.run = run
        self.retry = retry
        self.lanes = lanes
        self.seconds = seconds
        self.from_start = from_start

    def __repr__(self) -> str:
        return f"<subscriber {self.name}>"


def on(
    *facts: type[Fact],
    retry: Retry = USUAL_RETRY,
    lanes: int = LANES,
    seconds: float = USUAL_SECONDS,
    from_start: bool = False,
    name: str | None = None,
) -> Callable[[Run], Subscriber]:
    """Declare what is done when one of these has happened; `@on(Fact)` hears everything.

    What it writes through its Unit is committed together with its place in the log, so each fact has its effect once; facts of one
    aggregate come in the order of their commits. What reaches outside the database belongs into a job that it enqueues: while it
    writes, no later fact can be read by anybody. A new subscriber hears what happens from its first start on, or with `from_start`
    all that the log holds.
    """

    def declare(run: Run) -> Subscriber:
        return Subscriber(run, facts, name=name, retry=retry, lanes=lanes, seconds=seconds, from_start=from_start)

    return declare
