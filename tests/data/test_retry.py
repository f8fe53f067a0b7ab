"""Trying again: after contention only, so often only, and never after a commit."""

from __future__ import annotations

import pytest

from fortress.context import RequestContext
from fortress.data import Contended, retrying
from fortress.errors import Conflict


class Work:
    """Fails so often, then succeeds."""

    def __init__(self, *failures: Exception, commits: RequestContext | None = None) -> None:
        self.failures = list(failures)
        self.commits = commits
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.commits is not None:
            self.commits.committed = True
        if self.failures:
            raise self.failures.pop(0)
        return "done"


class Pauses:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def here() -> RequestContext:
    return RequestContext("request-1", "192.0.2.7")


async def test_what_succeeds_runs_once(here: RequestContext) -> None:
    work, pauses = Work(), Pauses()
    assert await retrying(work, here, pause=pauses) == "done"
    assert (work.calls, pauses.seconds) == (1, [])


async def test_contention_is_tried_again_after_growing_pauses(here: RequestContext) -> None:
    work, pauses = Work(Contended(), Contended()), Pauses()
    assert await retrying(work, here, pause=pauses) == "done"
    assert work.calls == 3
    assert 0.01 <= pauses.seconds[0] <= 0.03
    assert 0.02 <= pauses.seconds[1] <= 0.06


async def test_the_third_contention_is_told(here: RequestContext) -> None:
    work = Work(*(Contended() for _ in range(5)))
    with pytest.raises(Contended) as caught:
        await retrying(work, here, pause=Pauses())
    assert work.calls == 3
    assert (caught.value.status, caught.value.headers) == (503, {"retry-after": "1"})


async def test_what_has_committed_is_not_repeated(here: RequestContext) -> None:
    work = Work(Contended(), commits=here)
    with pytest.raises(Contended):
        await retrying(work, here, pause=Pauses())
    assert work.calls == 1


async def test_other_errors_are_not_repeated(here: RequestContext) -> None:
    work = Work(Conflict())
    with pytest.raises(Conflict):
        await retrying(work, here, pause=Pauses())
    assert work.calls == 1


async def test_work_without_a_request_is_repeated_too() -> None:
    work = Work(Contended())
    assert await retrying(work, None, pause=Pauses()) == "done"
