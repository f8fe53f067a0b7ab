"""A key service that is away: a few wait for it, the others hear at once (ASVS V13.1.3)."""

from __future__ import annotations

import pytest

from fortress.errors import Unavailable
from fortress.security.keyservice import FAILURES, FIRST_PAUSE, Line, Patience, ServiceAway

QUICK = Patience(seconds=0.2, tries=2, pause=0.0)


class Service:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.away: ServiceAway | None = ServiceAway("no answer")

    async def __call__(self) -> str:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return "a key"


class Seconds:
    """A clock that stands still."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def refused(line: Line, service: Service, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable):
            await line.answer(service)


async def test_after_a_few_failures_nobody_asks_until_one_finds_it_back() -> None:
    seconds, service = Seconds(), Service()
    line = Line(QUICK, seconds)
    await refused(line, service, FAILURES + 20)
    assert service.asked == FAILURES * QUICK.tries
    seconds.now += FIRST_PAUSE
    await refused(line, service, 20)
    assert service.asked == (FAILURES + 1) * QUICK.tries
    seconds.now += 2 * FIRST_PAUSE
    service.away = None
    assert [await line.answer(service) for _ in range(3)] == ["a key"] * 3


async def test_what_it_refuses_for_good_keeps_nobody_else_from_asking() -> None:
    service = Service()
    service.away = ServiceAway("403", lasting=True)
    await refused(Line(QUICK, Seconds()), service, FAILURES + 5)
    assert service.asked == FAILURES + 5
