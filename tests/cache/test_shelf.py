"""One shelf, with a clock that stands still and loads that end when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.background import Background
from fortress.cache.memory import Memory
from fortress.cache.plan import Lifetime, Plan
from fortress.cache.shelf import MOMENT_SECONDS, MOST_FLIGHTS, Shelf
from fortress.clock import FixedClock
from fortress.errors import Unavailable

KEY = b"key"


class Origin:
    """Where the value comes from: it counts its loads, and each waits until it may go on."""

    def __init__(self) -> None:
        self.loads = 0
        self.value: Any = "value"
        self.fails: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> Any:
        self.loads += 1
        read = self.value
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return read


class Here:
    """A shelf and what is around it."""

    def __init__(self, *, room: int = 1 << 20, most: int = 100, row_table: str | None = None, draw: Callable[[], float] = float) -> None:
        self.clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.memory = Memory(room=room, patience=10, clock=self.clock, background=Background(), draw=draw)
        self.memory.certain_until = lambda: float("inf")
        pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
        plan = Plan("Things.all", frozenset({"things"}), row_table, Lifetime(60, 5, most), b"", pack, unpack)
        self.shelf: Shelf = self.memory.shelf(plan)
        self.origin = Origin()

    async def ask(self, key: bytes = KEY, row: UUID | None = None) -> Any:
        entry = self.shelf.fresh(key)
        return entry.value if entry is not None else await self.shelf.obtain(key, row, self.origin.load)

    def later(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


async def under_way(here: Here, loads: int) -> None:
    while here.origin.loads < loads:  # noqa: ASYNC110 - the next turn of the loop is all there is to wait for
        await asyncio.sleep(0)


async def test_an_answer_is_given_until_its_end_and_not_from_then_on() -> None:
    here = Here()
    for _ in range(3):
        assert await here.ask() == "value"
    here.later(59.9)
    assert (await here.ask(), here.origin.loads, here.shelf.hits, here.shelf.misses) == ("value", 1, 3, 1)
    here.later(0.1)
    assert (await here.ask(), here.origin.loads) == ("value", 2)


async def test_that_there_is_nothing_is_believed_for_less_long() -> None:
    here = Here()
    here.origin.value = None
    assert (await here.ask(), await here.ask(), here.origin.loads) == (None, None, 1)
    here.later(5)
    assert (await here.ask(), here.origin.loads) == (None, 2)


async def test_a_caller_who_gives_up_takes_nobody_along() -> None:
    here = Here()
    here.origin.gate.clear()
    callers = [asyncio.create_task(here.ask()) for _ in range(3)]
    await under_way(here, 1)
    callers[0].cancel()
    await asyncio.wait([callers[0]])
    here.origin.gate.set()
    assert await asyncio.gather(*callers[1:]) == ["value", "value"]
    assert (callers[0].cancelled(), here.origin.loads) == (True, 1)


async def test_a_load_ends_and_is_kept_though_all_have_given_up() -> None:
    here = Here()
    here.origin.gate.clear()
    caller = asyncio.create_task(here.ask())
    await under_way(here, 1)
    caller.cancel()
    await asyncio.wait([caller])
    here.origin.gate.set()
    assert await here.ask() == "value"
    assert here.origin.loads == 1


async def test_a_failure_is_everyones_who_waited_and_is_not_kept() -> None:
    here = Here()
    here.origin.gate.clear()
    here.origin.fails = ArithmeticError()
    callers = [asyncio.create_task(here.ask()) for _ in range(3)]
    await under_way(here, 1)
    here.origin.gate.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ArithmeticError] * 3
    here.origin.fails = None
    assert (await here.ask(), here.origin.loads) == ("value", 2)


async def test_a_load_that_takes_too_long_is_given_up() -> None:
    here = Here()
    here.memory.patience = 0.01
    here.origin.gate.clear()
    with pytest.raises(Unavailable):
        await here.ask()


async def test_a_load_that_began_before_the_news_is_never_kept() -> None:
    here = Here()
    here.origin.gate.clear()
    before = asyncio.create_task(here.ask())
    await under_way(here, 1)
    here.origin.value = "newer"
    here.shelf.forget(None)
    after = asyncio.create_task(here.ask())
    await under_way(here, 2)
    here.origin.gate.set()
    assert (await before, await after, await here.ask()) == ("value", "newer", "newer")
    assert (here.origin.loads, here.shelf.stale) == (2, 1)


async def test_news_of_a_row_leaves_loads_and_answers_of_others() -> None:
    here = Here(row_table="things")
    mine, other = uuid4(), uuid4()
    await here.ask(b"mine", mine)
    await here.ask(b"other", other)
    here.origin.gate.clear()
    loading = asyncio.create_task(here.ask(b"loading", other))
    await under_way(here, 3)
    here.shelf.forget([mine])
    here.origin.gate.set()
    await loading
    await here.ask(b"mine", mine)
    await here.ask(b"other", other)
    await here.ask(b"loading", other)
    assert (here.origin.loads, here.shelf.dropped, here.shelf.stale) == (4, 1, 0)


async def test_while_news_might_be_missed_an_answer_is_believed_for_a_moment_only() -> None:
    here = Here()
    here.memory.certain_until = lambda: 0.0
    await here.ask()
    here.later(MOMENT_SECONDS)
    assert (await here.ask(), here.origin.loads) == ("value", 1)
    here.later(0.01)
    assert (await here.ask(), here.origin.loads) == ("value", 2)


@pytest.mark.parametrize(
    ("draw", "left", "refreshed"), [(0.0, 0.5, False), (0.99, 5.0, False), (0.99, 4.0, True), (1 - 2**-53, 36.0, True)]
)
async def test_somebody_is_drawn_to_load_early_the_likelier_the_nearer_the_end(draw: float, left: float, refreshed: bool) -> None:
    """XFetch: -ln(1 - draw) · 1 s ≥ the time left; -ln(0.01) is 4.6."""
    here = Here(draw=lambda: draw)
    loading = asyncio.create_task(here.ask())
    here.origin.gate.clear()
    await under_way(here, 1)
    here.later(1)
    here.origin.gate.set()
    await loading
    here.later(59 - left)
    here.origin.gate.clear()
    assert await here.ask() == "value"
    assert len(here.memory.background) == refreshed
    here.origin.value = "newer"
    if refreshed:
        await under_way(here, 2)
        assert [await here.ask() for _ in range(3)] == ["value"] * 3, "given until the new one is there"
    here.origin.gate.set()
    await here.memory.background.finish(5)
    assert here.origin.loads == 1 + refreshed


async def test_an_early_load_that_fails_leaves_the_answer_until_its_end() -> None:
    here = Here(draw=lambda: 1 - 2**-53)
    here.origin.gate.clear()
    loading = asyncio.create_task(here.ask())
    await under_way(here, 1)
    here.later(1)
    here.origin.gate.set()
    await loading
    here.origin.fails = ArithmeticError()
    here.later(58)
    assert await here.ask() == "value"
    await here.memory.background.finish(5)
    assert (await here.ask(), here.origin.loads) == ("value", 2)


async def test_answers_are_bounded_in_number_and_the_least_used_go_first() -> None:
    here = Here(most=2)
    for key in (b"1", b"2", b"1", b"3"):
        await here.ask(key)
    assert len(here.shelf) == 2
    assert [here.shelf.fresh(key) is None for key in (b"1", b"2", b"3")] == [False, True, False]


async def test_answers_are_bounded_in_bytes_over_all_shelves_and_the_fullest_gives() -> None:
    here = Here(room=100_000)
    other = here.memory.shelf(msgspec.structs.replace(here.shelf.plan, name="Other"))
    here.origin.value = "x" * 1000
    await other.obtain(b"small", None, here.origin.load)
    for number in range(50):
        await here.ask(b"%d" % number)
    assert here.memory.bytes == here.shelf.bytes + other.bytes <= 100_000
    assert (len(other), 0 < len(here.shelf) < 50) == (1, True)
    here.origin.value = "x" * 100_000
    await here.ask(b"too large")
    assert here.shelf.fresh(b"too large") is None
    here.shelf.forget(None)
    other.forget(None)
    assert here.memory.bytes == 0


async def test_when_too_much_is_under_way_a_caller_loads_alone() -> None:
    here = Here()
    here.origin.gate.clear()
    callers = [asyncio.create_task(here.ask(b"%d" % number)) for number in range(MOST_FLIGHTS + 10)]
    await under_way(here, MOST_FLIGHTS + 10)
    here.origin.gate.set()
    await asyncio.gather(*callers)
    assert len(here.shelf) == 100


class Story:
    """Writes, their news, loads that begin and end, and callers, in whatever order they are told."""

    def __init__(self) -> None:
        self.here = Here(draw=lambda: 0.999)
        self.here.origin.value = self.heard = 0
        self.gates: list[asyncio.Event] = []
        self.asked: list[tuple[int, asyncio.Task[int]]] = []

    async def load(self) -> int:
        read: int = self.here.origin.value
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return read

    async def answer(self) -> int:
        entry = self.here.shelf.fresh(KEY)
        found: int = entry.value if entry is not None else await self.here.shelf.obtain(KEY, None, self.load)
        return found

    def write(self) -> None:
        self.here.origin.value += 1

    def news(self) -> None:
        self.heard = self.here.origin.value
        self.here.shelf.forget(None)

    def ask(self) -> None:
        self.asked.append((self.heard, asyncio.create_task(self.answer())))

    def end(self) -> None:
        if self.gates:
            self.gates.pop(0).set()

    def late(self) -> None:
        self.here.later(20)

    async def run(self, steps: list[str]) -> None:
        for step in steps:
            getattr(self, step)()
            for _ in range(4):
                await asyncio.sleep(0)
        while any(not task.done() for _, task in self.asked) or len(self.here.memory.background):
            self.end()
            await asyncio.sleep(0)


@given(st.lists(st.sampled_from(["write", "news", "ask", "end", "late"]), max_size=40))
def test_who_asks_after_the_news_gets_what_it_told_of(steps: list[str]) -> None:
    async def told() -> Story:
        story = Story()
        await story.run(steps)
        return story

    assert all(task.result() >= known for known, task in asyncio.run(told()).asked)
