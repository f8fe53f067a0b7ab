from __future__ import annotations

import asyncio
import threading
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import argon2
import pytest

from fortress.errors import Invalid, Unavailable
from fortress.security.hashing import MAX_BYTES, PasswordHasher
from fortress.settings import Settings

CHEAP = {"memory": 64, "passes": 1}


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(**CHEAP, threads=2)
    yield hasher
    hasher.close()


async def test_the_right_password_holds_and_a_wrong_one_does_not(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("correct horse")
    assert await hasher.verify(stored, "correct horse") == (await hasher.verify(stored, "correct horse"))
    assert (await hasher.verify(stored, "correct horse")).ok
    assert not (await hasher.verify(stored, "correct horsf")).ok


async def test_two_hashes_of_one_password_differ(hasher: PasswordHasher) -> None:
    assert await hasher.hash("correct horse") != await hasher.hash("correct horse")


LONG = "x" * 1000


@pytest.mark.parametrize(
    ("password", "other"),
    [
        ("Correct Horse", "correct horse"),
        ("correct horse", "correct horse "),
        ("correct horse", " correct horse"),
        ("correct horse", "correct  horse"),
        (unicodedata.normalize("NFC", "café-café"), unicodedata.normalize("NFD", "café-café")),
        ("ﬁsh and chips", "fish and chips"),
        ("before\x00after", "before"),
        ("before\x00after", "before\x00other"),
        (LONG, LONG[:-1]),
        (LONG, LONG + "y"),
        (LONG[:72], LONG[:73]),
        ("\ud800-surrogate", "?-surrogate"),
        ("\ud800-surrogate", "\ud801-surrogate"),
        ("passwort", ""),
    ],
)
async def test_a_password_is_verified_exactly_as_it_came(hasher: PasswordHasher, password: str, other: str) -> None:
    """ASVS V6.2.8: not truncated, not folded, not normalised."""
    stored = await hasher.hash(password)
    assert (await hasher.verify(stored, password)).ok
    assert not (await hasher.verify(stored, other)).ok


async def test_a_password_beyond_the_cap_is_never_hashed(hasher: PasswordHasher) -> None:
    work = _Work(hasher)
    work.opened.set()
    with pytest.raises(Invalid) as refused:
        await hasher.hash("x" * (MAX_BYTES + 1))
    assert [error.code for error in refused.value.errors] == ["password.too_long"]
    assert not (await hasher.verify(None, "é" * MAX_BYTES)).ok
    assert work.done == 0


async def test_an_unknown_person_costs_what_a_known_one_costs(hasher: PasswordHasher) -> None:
    known = argon2.extract_parameters(await hasher.hash("correct horse"))
    assert argon2.extract_parameters(hasher._nobody) == known
    work = _Work(hasher)
    work.opened.set()
    assert not (await hasher.verify(None, "correct horse")).ok
    assert (work.done, work.made) == (1, 0)


async def test_nobody_s_password_is_never_right(hasher: PasswordHasher) -> None:
    hasher._nobody = await hasher.hash("correct horse")
    assert not (await hasher.verify(None, "correct horse")).ok


async def test_the_hash_of_nobody_differs_in_every_process_and_is_nobody_s() -> None:
    first, second = PasswordHasher(**CHEAP), PasswordHasher(**CHEAP)
    assert first._nobody != second._nobody
    assert not (await first.verify(first._nobody, "")).ok
    first.close()
    second.close()


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$v=19$m=64,t=1,p=1$$", "$2b$12$abcdefghijklmnopqrstuv", "plain"])
async def test_a_broken_stored_hash_is_nobody_s(hasher: PasswordHasher, stored: str) -> None:
    assert not (await hasher.verify(stored, "plain")).ok


@pytest.mark.parametrize(
    "weaker",
    [
        argon2.PasswordHasher(1, 32, 1),
        argon2.PasswordHasher(1, 64, 1, hash_len=16),
        argon2.PasswordHasher(1, 64, 1, salt_len=8),
        argon2.PasswordHasher(1, 64, 1, type=argon2.Type.I),
    ],
)
async def test_a_weaker_stored_hash_is_made_anew_when_the_password_is_right(hasher: PasswordHasher, weaker: argon2.PasswordHasher) -> None:
    stored = weaker.hash("correct horse")
    verified = await hasher.verify(stored, "correct horse")
    assert verified.ok
    assert verified.rehash is not None
    assert await hasher.verify(verified.rehash, "correct horse") == type(verified)(True)
    assert await hasher.verify(stored, "wrong horse") == type(verified)(False)


@pytest.mark.parametrize(("low_costs", "high_costs"), [((64, 1), (128, 1)), ((64, 1), (64, 2)), ((64, 1), (128, 2))])
async def test_parameters_that_rose_rehash_and_that_fell_do_not(low_costs: tuple[int, int], high_costs: tuple[int, int]) -> None:
    low, high = PasswordHasher(*low_costs), PasswordHasher(*high_costs)
    assert (await high.verify(await low.hash("correct horse"), "correct horse")).rehash is not None
    assert (await low.verify(await high.hash("correct horse"), "correct horse")).rehash is None
    low.close()
    high.close()


def test_the_defaults_meet_asvs_appendix_c() -> None:
    hasher = PasswordHasher.from_settings(Settings.model_validate({}))
    parameters = argon2.extract_parameters(hasher._nobody)
    assert parameters.type is argon2.Type.ID
    assert (parameters.time_cost, parameters.parallelism, parameters.hash_len) == (2, 1, 32)
    assert parameters.memory_cost >= 19 * 1024
    assert hasher.threads >= 1
    hasher.close()


def test_no_repr_shows_a_hash(hasher: PasswordHasher) -> None:
    verified = asyncio.run(hasher.verify(argon2.PasswordHasher(1, 32, 1).hash("correct horse"), "correct horse"))
    assert verified.rehash is not None
    assert "$argon2" not in repr(verified) + repr(verified.__rich_repr__()) + repr(hasher)


class _Work:
    """Stands in for argon2 and holds each thread until it is let go."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._real = hasher._argon2
        hasher._argon2 = self  # type: ignore[assignment]
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)
        self.done = 0
        self.made = 0
        self.threads = set[str]()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def verify(self, stored: str, secret: bytes) -> bool:
        self.begun.release()
        self.threads.add(threading.current_thread().name)
        assert self.opened.wait(20)
        self.done += 1
        return self._real.verify(stored, secret)

    def hash(self, secret: bytes) -> str:
        self.made += 1
        return self._real.hash(secret)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=20)


class _Busy:
    """One thread, held; room for two more; a wait long enough that nobody is refused for it."""

    def __init__(self, wait: float = 20) -> None:
        self.hasher = PasswordHasher(**CHEAP, threads=1, queue=2, wait=wait)
        self.work = _Work(self.hasher)
        self.tasks: list[asyncio.Task[object]] = []

    def ask(self) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.create_task(self.hasher.verify(None, "correct horse"))
        self.tasks.append(task)
        return task

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.hasher.queued, self.hasher.running, self.hasher.rejected


@pytest.fixture
async def busy() -> AsyncIterator[_Busy]:
    busy = _Busy()
    yield busy
    busy.work.opened.set()
    await asyncio.gather(*busy.tasks, return_exceptions=True)
    busy.hasher.close()


async def _pass() -> None:
    """Let every task that can move do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_beyond_the_queue_callers_are_refused_at_once(busy: _Busy) -> None:
    first = busy.ask()
    await busy.work.has_begun()
    waiting = [busy.ask(), busy.ask()]
    await _pass()
    assert busy.counts == (2, 1, 0)
    with pytest.raises(Unavailable) as refused:
        await busy.hasher.verify(None, "correct horse")
    assert int(refused.value.headers["retry-after"]) >= 1
    assert busy.counts == (2, 1, 1)
    busy.work.opened.set()
    await asyncio.gather(first, *waiting)
    assert busy.counts == (0, 0, 1)


async def test_a_caller_who_goes_away_frees_no_thread(busy: _Busy) -> None:
    gone = busy.ask()
    await busy.work.has_begun()
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    waiting = [busy.ask(), busy.ask()]
    await _pass()
    assert busy.counts == (2, 1, 0)
    with pytest.raises(Unavailable):
        await busy.hasher.verify(None, "correct horse")
    assert busy.work.done == 0
    busy.work.opened.set()
    await asyncio.gather(*waiting)
    assert busy.work.done == 3
    assert busy.counts == (0, 0, 1)


async def test_a_caller_who_goes_away_while_waiting_is_never_worked_for(busy: _Busy) -> None:
    first = busy.ask()
    await busy.work.has_begun()
    waiting = busy.ask()
    await _pass()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert busy.counts == (0, 1, 0)
    busy.work.opened.set()
    await first
    assert busy.work.done == 1


async def test_who_waits_too_long_for_a_thread_is_refused_and_never_worked_for() -> None:
    busy = _Busy(wait=0.02)
    first = busy.ask()
    await busy.work.has_begun()
    with pytest.raises(Unavailable):
        await busy.hasher.verify(None, "correct horse")
    assert busy.counts == (0, 1, 1)
    busy.work.opened.set()
    await first
    assert busy.work.done == 1
    busy.hasher.close()


async def test_work_that_has_begun_is_answered_however_long_it_takes() -> None:
    busy = _Busy(wait=0.02)
    first = busy.ask()
    await busy.work.has_begun()
    done, _ = await asyncio.wait({first}, timeout=0.1)
    assert not done
    busy.work.opened.set()
    await first
    busy.hasher.close()


async def test_the_loop_goes_on_while_a_hash_is_made(busy: _Busy) -> None:
    task = busy.ask()
    await busy.work.has_begun()
    await _pass()
    assert not task.done()
    busy.work.opened.set()
    await task
    assert {name.startswith("fortress-hash") for name in busy.work.threads} == {True}


async def test_no_more_hashes_run_at_once_than_there_are_threads() -> None:
    hasher = PasswordHasher(**CHEAP, threads=2, queue=10, wait=20)
    work = _Work(hasher)
    tasks = [asyncio.create_task(hasher.verify(None, "correct horse")) for _ in range(6)]
    await work.has_begun()
    await work.has_begun()
    await _pass()
    assert (hasher.queued, hasher.running) == (4, 2)
    work.opened.set()
    await asyncio.gather(*tasks)
    assert len(work.threads) == 2
    hasher.close()


async def test_what_hashes_took_is_given_back_once_nobody_signs_in(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    given, loop = asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr("fortress.heap.give_back", lambda: loop.call_soon_threadsafe(given.set))
    monkeypatch.setattr("fortress.security.hashing._IDLE_SECONDS", 3600)
    stored = await hasher.hash("correct horse")
    await hasher.verify(stored, "correct horse")
    assert not given.is_set(), "not between two hashes"
    monkeypatch.setattr("fortress.security.hashing._IDLE_SECONDS", 0)
    await hasher.verify(stored, "correct horse")
    await asyncio.wait_for(given.wait(), 10)


async def test_closing_refuses_those_who_wait_and_those_who_come(busy: _Busy) -> None:
    first = busy.ask()
    await busy.work.has_begun()
    waiting = busy.ask()
    await _pass()
    busy.hasher.close()
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await busy.hasher.verify(None, "correct horse")
    busy.work.opened.set()
    await first
    assert busy.counts == (0, 0, 0)
