"""How far long work is: a bar on a terminal, a line every few seconds elsewhere. Both on standard error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fortress.commands.project import say

_LINE_SECONDS: Final = 5.0


class Done(Protocol):
    """How much of some work is done."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


class Meter(Protocol):
    """What shows it."""

    def show(self, done: int, total: int) -> None: ...


class LineMeter:
    """A line for the first and the last, and every few seconds in between.

    Args:
        title: what is being done.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._said = float("-inf")

    def show(self, done: int, total: int) -> None:
        if done < total and time.monotonic() - self._said < _LINE_SECONDS:
            return
        self._said = time.monotonic()
        say(f"{self._title}: {done} of {total}")


class BarMeter:
    """A bar with the time that is left."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def show(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)


@contextmanager
def meter(title: str, console: Console | None = None) -> Iterator[Meter]:
    """Shows how far `title` is, for as long as this lasts."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield LineMeter(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield BarMeter(bar, bar.add_task(title, total=None))


async def followed(title: str, work: AsyncIterator[Done]) -> int:
    """Go through the work and show how far it is; how much was done."""
    done = 0
    with meter(title) as shown:
        async for step in work:
            done = step.done
            shown.show(done, step.total)
    return done


async def wait_for_all(seconds: float) -> None:
    """Wait until what was changed is known to every process, and what they began before has ended."""
    say(f"waiting {seconds:.0f} s, until every process knows")
    await asyncio.sleep(seconds)
