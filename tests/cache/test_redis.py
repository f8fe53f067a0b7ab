"""What Redis adds, and what it can't take away: it may be full of nonsense, behind, frozen or gone."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis
from tests.cache.conftest import Process, Start
from tests.cache.library import Book, Books, book, books
from tests.proxy import Proxy

from fortress.data import PageQuery
from fortress.errors import CannotStart
from fortress.limits.redis import open_client
from fortress.security import SYSTEM
from fortress.testing.servers import through


@pytest.fixture
def shared_prefix(redis_url: str) -> str:
    return f"cache-test:{uuid4().hex}:"


@pytest.fixture
async def emma(process: Process) -> Book:
    """A book that `process` has read and shared."""
    kept = book()
    async with process.database.unit(SYSTEM) as unit:
        await books.add(unit, kept)
    await process.caught_up()
    await process.settled()
    assert await books.all(process.reader()) == (kept,)
    await process.settled()
    return kept


async def answers_in(redis: Redis, prefix: str) -> list[bytes]:
    return [key async for key in redis.scan_iter(f"{prefix}answer:*")]


async def joined(start: Start, process: Process) -> Process:
    """Another process that finds what the first has shared: a new one doubts everything, so the first shares it again."""
    other = await start()
    process.shelf("Books.all").forget(None)
    await books.all(process.reader())
    await process.settled()
    return other


async def test_what_one_process_loaded_another_has(start: Start, process: Process, emma: Book) -> None:
    other = await joined(start, process)
    with other.database.counting() as count:
        assert await books.all(other.reader()) == (emma,)
    assert (count.round_trips, other.loads, other.shelf("Books.all").shared_hits) == (0, 0, 1)
    page = await books.recent(process.reader(), query=PageQuery(1))
    await process.settled()
    assert await books.recent(other.reader(), query=PageQuery(1)) == page
    assert await books.by_id.maybe(process.reader(), id=uuid4()) is None
    assert other.loads == 0


async def test_all_processes_hear_and_tell_redis_once(start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str) -> None:
    other = await joined(start, process)
    async with process.database.unit(SYSTEM) as unit:
        await books.lend(unit, id=emma.id)
    for one in (process, other):
        await one.caught_up()
        await one.settled()
    token = await redis.get(f"{shared_prefix}mark:table:books")
    assert [one.copies for one in await books.all(other.reader())] == [2]
    await other.settled()
    assert [one.copies for one in await books.all(process.reader())] == [2]
    assert (process.shelf("Books.all").shared_hits, await redis.get(f"{shared_prefix}mark:table:books")) == (1, token)


@pytest.mark.parametrize("found", [b"", b"nonsense", b"\x80\x04}.", bytes(100), b"\x01" * 27, "empty", "moved", "old"])
async def test_whatever_else_is_found_there_is_a_miss(
    start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str, found: Any
) -> None:
    other = await joined(start, process)
    (answer,) = await answers_in(redis, shared_prefix)
    ours = await redis.get(answer)
    assert isinstance(ours, bytes)
    if found == "empty":
        await redis.delete(answer)
    elif found == "moved":
        await books.thickness(process.reader())
        await process.settled()
        (elsewhere,) = set(await answers_in(redis, shared_prefix)) - {answer}
        await redis.copy(elsewhere.decode(), answer.decode(), replace=True)
    elif found == "old":
        await redis.set(answer, ours[:16] + b"\x00" + ours[17:], px=50_000)
    else:
        await redis.set(answer, found, px=50_000)
    assert await books.all(other.reader()) == (emma,)
    assert (other.loads, other.shelf("Books.all").shared_hits) == (1, 0)


async def test_another_kind_of_value_is_a_miss_too(start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str) -> None:
    other = await joined(start, process)
    (answer,) = await answers_in(redis, shared_prefix)
    await redis.delete(answer)
    await redis.rpush(answer, b"a list")
    assert await books.all(other.reader()) == (emma,)
    assert other.memory.shared is not None
    assert other.memory.shared.errors == 1


async def test_a_load_that_began_before_the_change_is_not_shared_after_it(
    start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst case: the loading process has not heard of the change when its load ends."""
    late = await joined(start, process)
    process.shelf("Books.all").forget(None)
    for answer in await answers_in(redis, shared_prefix):
        await redis.delete(answer)
    read, go_on = asyncio.Event(), asyncio.Event()
    load = Books.all.query.__class__.__call__

    async def slowly(self: Any, reader: Any, **given: Any) -> Any:
        rows = await load(self, reader, **given)
        read.set()
        await go_on.wait()
        return rows

    monkeypatch.setattr(Books.all.query.__class__, "__call__", slowly)
    monkeypatch.setattr(late.caches, "heard", lambda _news: None)
    loading = asyncio.create_task(books.all(late.reader()))
    await read.wait()
    monkeypatch.undo()
    monkeypatch.setattr(late.caches, "heard", lambda _news: None)
    async with process.database.unit(SYSTEM) as unit:
        await books.lend(unit, id=emma.id)
    await process.settled()
    go_on.set()
    assert [one.copies for one in await loading] == [3]
    await late.settled()
    assert await answers_in(redis, shared_prefix) == []
    assert [one.copies for one in await books.all(process.reader())] == [2]


async def test_a_change_that_nobody_lived_to_tell_of_is_not_hidden_from_who_comes_next(
    start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """All processes died between the commit and the telling: what is in Redis is stale, in order, and signed by us."""
    await process.bus.stop()
    await admin.execute("UPDATE books SET copies = 0")
    assert len(await answers_in(redis, shared_prefix)) == 1
    after = await start()
    assert [one.copies for one in await books.all(after.reader())] == [0]
    assert after.loads == 1


async def test_redis_is_not_believed_before_it_was_told(
    start: Start, process: Process, emma: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the news and Redis's word that it has them, the database is asked."""
    other = await joined(start, process)
    hold = asyncio.Event()
    for one in (process, other):
        assert one.memory.shared is not None
        answers: Any = one.memory.shared._answers
        tell = answers.tell

        async def held(news: bytes, marks: tuple[bytes, ...], tell: Callable[..., Awaitable[None]] = tell) -> None:
            await hold.wait()
            await tell(news, marks)

        monkeypatch.setattr(answers, "tell", held)
    async with process.database.unit(SYSTEM) as unit:
        await books.lend(unit, id=emma.id)
    await other.caught_up()
    assert [one.copies for one in await books.all(other.reader())] == [2]
    assert (other.loads, other.shelf("Books.all").shared_hits) == (1, 0)
    hold.set()
    for one in (process, other):
        await one.settled()


def about_to_end(process: Process, *, sooner: float = 0) -> None:
    """From now on each caller is drawn to load its answer anew, which ends so many seconds sooner."""
    process.memory.draw = lambda: 0.999
    for entry in process.shelf("Books.all")._entries.values():
        entry.took, entry.early = 100.0, 0.0
        entry.until -= sooner


async def test_one_process_loads_an_answer_anew_and_the_others_take_it(
    start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str
) -> None:
    other = await joined(start, process)
    await books.all(other.reader())
    (answer,) = await answers_in(redis, shared_prefix)
    claim = answer.replace(b"answer:", b"claim:")
    about_to_end(process)
    await redis.set(claim, 1)
    loads = process.loads
    assert await books.all(process.reader()) == (emma,)
    await process.settled()
    assert process.loads == loads, "another one has claimed it"
    await redis.delete(claim)
    assert await books.all(process.reader()) == (emma,)
    await process.settled()
    assert process.loads == loads + 1
    about_to_end(other, sooner=30)
    assert await books.all(other.reader()) == (emma,)
    await other.settled()
    assert (other.loads, other.shelf("Books.all").shared_hits) == (0, 2)


async def test_who_might_miss_news_asks_the_database_and_shares_nothing(
    start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str
) -> None:
    deaf = await joined(start, process)
    deaf.memory.certain_until = lambda: float("-inf")
    deaf.memory.sure_until = float("-inf")
    assert await books.all(deaf.reader()) == (emma,)
    assert await books.by_id(deaf.reader(), id=emma.id) == emma
    await deaf.settled()
    assert (deaf.loads, deaf.shelf("Books.all").shared_hits, len(await answers_in(redis, shared_prefix))) == (2, 0, 1)


async def test_a_token_that_redis_has_lost_makes_answers_worthless(
    start: Start, process: Process, emma: Book, redis: Redis, shared_prefix: str
) -> None:
    other = await joined(start, process)
    await redis.delete(f"{shared_prefix}mark:table:books")
    assert await books.all(other.reader()) == (emma,)
    assert (other.loads, other.shelf("Books.all").shared_hits) == (1, 0)


@pytest.fixture
async def tap(redis_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    tap = Proxy(redis_url)
    await tap.open()
    yield tap, through(redis_url, tap.port)
    await tap.close()


@pytest.mark.parametrize("trouble", ["frozen", "gone"])
async def test_redis_in_trouble_costs_a_moment_and_nothing_else(
    start: Start, process: Process, emma: Book, tap: tuple[Proxy, str], trouble: str
) -> None:
    between, url = tap
    troubled = await start(redis_at=url, patience=0.05)
    await troubled.settled()
    if trouble == "frozen":
        between.freeze()
    else:
        await between.close()
    answers = [await books.by_id.maybe(troubled.reader(), id=uuid4()) for _ in range(50)]
    assert (answers, troubled.loads) == ([None] * 50, 50)
    assert troubled.memory.shared is not None
    assert 0 < troubled.memory.shared.errors < 25, "who fails is not asked every time"
    async with process.database.unit(SYSTEM) as unit:
        await books.save(unit, msgspec.structs.replace(emma, copies=8))
    await troubled.caught_up()
    assert [one.copies for one in await books.all(troubled.reader())] == [8]
    if trouble == "frozen":
        between.thaw()
    else:
        await between.open()
    await troubled.settled()
    assert await books.by_id.maybe(process.reader(), id=(missing := uuid4())) is None
    await process.settled()
    assert [one.copies for one in await books.all(troubled.reader())] == [8]
    assert await books.by_id.maybe(troubled.reader(), id=missing) is None


async def test_after_a_connection_broke_nothing_that_was_there_is_believed(
    start: Start, process: Process, emma: Book, tap: tuple[Proxy, str], redis: Redis, shared_prefix: str
) -> None:
    """It may have been a failover to a server that has not heard of the last changes."""
    between, url = tap
    cut_off = await start(redis_at=url, patience=0.2)
    await cut_off.settled()
    before = await redis.get(f"{shared_prefix}mark:everything")
    await between.close()
    assert await books.by_id.maybe(cut_off.reader(), id=uuid4()) is None
    await between.open()

    async def changed() -> bool:
        await books.by_id.maybe(cut_off.reader(), id=uuid4())
        return await redis.get(f"{shared_prefix}mark:everything") != before

    async with asyncio.timeout(10):
        while not await changed():  # noqa: ASYNC110 - each look is what may find the connection mended
            await asyncio.sleep(0.05)


async def test_more_news_than_can_be_remembered_is_a_doubt_about_everything(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = process.memory.shared
    assert shared is not None
    monkeypatch.setattr("fortress.cache.remote.MOST_UNTOLD", 2)
    settled = shared._settled
    for _ in range(4):
        async with process.database.unit(SYSTEM) as unit:
            await books.restock(unit)
    await process.settled()
    assert shared._settled >= settled


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_redis(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("redis"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(CannotStart) as caught:
        open_client("redis://127.0.0.1", 0.05)
    assert "fortress[redis]" in caught.value.hint
