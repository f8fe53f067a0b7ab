"""What the cache promises, with Redis and without: nothing stale, nobody's answer given to another, no load twice."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.cache.conftest import Process, Start, eventually
from tests.cache.library import ANN, BEN, CLERK, Book, Chapter, Figures, Loan, Note, Thickness, book, books, chapters, loans, notes

from fortress.data import PageQuery
from fortress.data.bus import CHANNEL
from fortress.data.changes import TOPIC
from fortress.errors import Invalid, NotFound
from fortress.security import SYSTEM, Reach


async def added(process: Process, *rows: object) -> None:
    async with process.database.unit(SYSTEM) as unit:
        unit.add(rows)  # type: ignore[arg-type]  # entities of several repositories


async def test_what_was_asked_once_is_not_asked_again(process: Process) -> None:
    emma = book()
    await added(process, emma)
    reader = process.reader()
    first = [await books.by_id(reader, id=emma.id), await books.all(reader), await books.recent(reader, query=PageQuery())]
    with process.database.counting() as count:
        again = [await books.by_id(reader, id=emma.id), await books.all(reader), await books.recent(reader, query=PageQuery())]
    assert again == first == [emma, (emma,), again[2]]
    assert again[2] is first[2], "the very object, ready to be sent"
    assert count.round_trips == 0
    assert (process.loads, process.shelf("Books.all").hits) == (3, 1)


async def test_whoever_changes_something_sees_it_at_once(process: Process) -> None:
    emma = book()
    await added(process, emma)
    assert await books.all(process.reader()) == (emma,)
    async with process.database.unit(SYSTEM) as unit:
        await books.save(unit, msgspec.structs.replace(emma, copies=9))
    assert [one.copies for one in await books.all(process.reader())] == [9]


@pytest.mark.parametrize("kind", ["add", "save", "remove", "change"])
async def test_every_other_process_hears_of_it_from_the_commit(start: Start, kind: str) -> None:
    here, there = await start(), await start()
    emma, persuasion = book(), book("Persuasion")
    await added(here, emma)
    await there.caught_up()
    assert await books.all(there.reader()) == (emma,)
    async with here.database.unit(SYSTEM) as unit:
        if kind == "add":
            await books.add(unit, persuasion)
        elif kind == "save":
            await books.save(unit, msgspec.structs.replace(emma, copies=9))
        elif kind == "remove":
            await books.remove(unit, emma)
        else:
            await books.lend(unit, id=emma.id)
    await there.caught_up()
    assert list(await books.all(there.reader())) == await books.stored(there.reader())


async def test_what_is_rolled_back_changes_nothing(process: Process) -> None:
    await books.all(process.reader())

    async def broken_off() -> None:
        async with process.database.unit(SYSTEM) as unit:
            await books.add(unit, book())
            await unit.flush()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await broken_off()
    assert await books.all(process.reader()) == ()
    assert process.shelf("Books.all").hits == 1


async def test_a_unit_of_work_sees_what_it_wrote_and_leaves_nothing_of_it_here(process: Process) -> None:
    emma = book()
    await books.all(process.reader())

    async def broken_off() -> None:
        async with process.database.unit(SYSTEM) as unit:
            await books.add(unit, emma)
            assert await books.all(unit) == [emma]
            assert await books.by_id(unit, id=emma.id) == emma
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await broken_off()
    assert await books.all(process.reader()) == ()
    assert await books.by_id.maybe(process.reader(), id=emma.id) is None


async def test_a_row_that_changes_leaves_the_answers_about_other_rows(process: Process) -> None:
    emma, persuasion = book(), book("Persuasion")
    await added(process, emma, persuasion)
    for one in (emma, persuasion):
        await books.by_id(process.reader(), id=one.id)
    loads = process.loads
    async with process.database.unit(SYSTEM) as unit:
        await books.lend(unit, id=emma.id)
    assert (await books.by_id(process.reader(), id=emma.id)).copies == 2
    assert await books.by_id(process.reader(), id=str(persuasion.id)) == persuasion
    assert process.loads == loads + 1
    async with process.database.unit(SYSTEM) as unit:
        await books.restock(unit)
    assert (await books.by_id(process.reader(), id=persuasion.id)).copies == 4


async def test_that_there_is_nothing_is_kept_until_there_is_something(process: Process) -> None:
    emma = book()
    for _ in range(2):
        with pytest.raises(NotFound):
            await books.by_id(process.reader(), id=emma.id)
    assert (process.loads, process.shelf("Books.by_id").hits) == (1, 1)
    await added(process, emma)
    assert await books.by_id(process.reader(), id=emma.id) == emma


async def test_a_query_hangs_on_every_table_in_it(process: Process) -> None:
    emma = book()
    one, two = Chapter(uuid4(), emma.id, "1"), Chapter(uuid4(), emma.id, "2")
    await added(process, emma, one)
    assert await books.thickness(process.reader()) == (Thickness("Emma", 1),)
    await added(process, two)
    assert await books.thickness(process.reader()) == (Thickness("Emma", 2),)
    async with process.database.unit(SYSTEM) as unit:
        await books.save(unit, msgspec.structs.replace(emma, title="EMMA"))
    assert await books.thickness(process.reader()) == (Thickness("EMMA", 2),)


async def test_rows_that_go_with_another_are_gone(process: Process) -> None:
    emma = book()
    first = Chapter(uuid4(), emma.id, "1")
    await added(process, emma, first)
    assert await chapters.all(process.reader()) == (first,)
    assert await chapters.by_id(process.reader(), id=first.id) == first
    async with process.database.unit(SYSTEM) as unit:
        await books.remove(unit, emma)
    assert await chapters.all(process.reader()) == ()
    assert await chapters.by_id.maybe(process.reader(), id=first.id) is None


async def test_nobody_is_given_what_another_may_see(start: Start) -> None:
    mine, yours = Note(uuid4(), ANN.id, "mine"), Note(uuid4(), BEN.id, "yours")
    here, there = await start(), await start()
    await added(here, mine, yours)
    await there.caught_up()
    for process in (here, there):
        for _ in range(2):
            assert await notes.all(process.reader(CLERK)) == (mine, yours)
            assert await notes.all(process.reader(ANN)) == (mine,)
            assert await notes.all(process.reader(BEN)) == (yours,)
            assert await notes.by_id(process.reader(CLERK), id=mine.id) == mine
            assert await notes.by_id(process.reader(ANN), id=mine.id) == mine
            with pytest.raises(NotFound):
                await notes.by_id(process.reader(BEN), id=mine.id)
        await process.settled()


async def test_a_page_leads_to_the_next_one_for_everybody_who_may_see_it(process: Process) -> None:
    shelf = [book(str(number)) for number in range(3)]
    await added(process, *shelf)
    first = await books.recent(process.reader(ANN), query=PageQuery(2))
    assert await books.recent(process.reader(BEN), query=PageQuery(2)) is first
    for caller in (ANN, BEN):
        second = await books.recent(process.reader(caller), query=PageQuery(2, first.next))
        assert {one.title for one in [*first.items, *second.items]} == {"0", "1", "2"}
    assert process.shelf("Books.recent").hits == 2
    with pytest.raises(TypeError):
        first.items[0] = shelf[0]  # type: ignore[index]  # nobody can change it for others, says the type too
    with pytest.raises(Invalid):
        await books.recent(process.reader(ANN), query=PageQuery(2, "bm90IGEgY3Vyc29y"))


async def test_a_page_of_ones_own_is_nobody_elses(process: Process) -> None:
    await added(process, *(Note(uuid4(), ANN.id, str(number)) for number in range(3)))
    first = await notes.recent(process.reader(ANN), query=PageQuery(1))
    assert first.next is not None
    assert (await notes.recent(process.reader(BEN), query=PageQuery(1))).items == ()
    for other in (BEN, CLERK):
        with pytest.raises(Invalid):
            await notes.recent(process.reader(other), query=PageQuery(1, first.next))


async def test_a_commit_tells_in_no_round_trip_of_its_own_and_of_nothing_that_nobody_keeps(process: Process, cache_url: str) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(cache_url)
    await listener.add_listener(CHANNEL, lambda *given: heard.append(str(given[3])))
    emma = book()
    unit_costs = []
    with process.database.counting() as count:
        await added(process, emma)
    unit_costs.append(count.round_trips)
    with process.database.counting() as count:
        async with process.database.unit(SYSTEM) as unit:
            await books.save(unit, msgspec.structs.replace(emma, copies=9))
    unit_costs.append(count.round_trips)
    async with process.database.unit(SYSTEM) as unit:
        await loans.add(unit, Loan(uuid4(), emma.id))
    async with process.database.unit(SYSTEM) as unit:
        unit.notify("last:")
    await eventually(lambda: "last:" in heard)
    await listener.close()
    assert unit_costs == [1, 3], "one insert; BEGIN, UPDATE, COMMIT"
    assert len([one for one in heard if one.startswith(f"{TOPIC}:")]) == 2


async def test_when_the_listener_is_lost_nothing_is_believed_that_it_might_have_missed(
    start: Start, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    here, there = await start(), await start()
    emma = book()
    await added(here, emma)
    await there.caught_up()
    assert await books.all(there.reader()) == (emma,)
    await there.settled()
    lost = asyncio.Event()
    there.bus.on_lost(lost.set)
    # The change comes while nobody hears it: by another client, that tells nobody.
    killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ''"
    await admin.execute("UPDATE books SET copies = 0")
    await admin.execute(f"{killed} AND pid <> pg_backend_pid()")
    await asyncio.wait_for(lost.wait(), 5)
    assert [one.copies for one in await books.all(there.reader())] == [0]
    await eventually(there.bus.certain)
    assert [one.copies for one in await books.all(there.reader())] == [0]


async def test_hundreds_who_ask_at_once_make_one_load(process: Process) -> None:
    emma = book()
    await added(process, emma)
    answers = await asyncio.gather(*(books.all(process.reader(ANN)) for _ in range(500)))
    assert all(answer == (emma,) for answer in answers)
    assert process.loads == 1


async def test_a_method_answers_once_for_each_caller_and_each_argument(start: Start) -> None:
    here, there = await start(), await start()
    figures, elsewhere = Figures(), Figures()
    here.caches.adopt(figures)
    there.caches.adopt(elsewhere)
    grown = msgspec.structs.replace(ANN, grants=1)
    asked = [(who, least) for who in (ANN, BEN, ANN.reaching(Reach.ANY), grown) for least in (0, 1)]
    answers = [await figures.average(*given) for given in asked]
    assert [await figures.average(*given) for given in asked] == answers
    assert [answer[0] for answer in answers] == [str(who.id) for who in (ANN, BEN, ANN, ANN) for _ in range(2)]
    assert figures.worked == 8
    await here.settled()
    assert await elsewhere.average(ANN, 0) == answers[0]
    assert elsewhere.worked == (0 if there.memory.shared else 1)
    await added(there, Chapter(uuid4(), (await kept_book(there)).id, "1"))
    await here.caught_up()
    await figures.average(ANN, 0)
    assert figures.worked == 9


async def kept_book(process: Process) -> Book:
    emma = book()
    await added(process, emma)
    return emma


async def test_a_method_that_finds_nothing_says_so_once(process: Process) -> None:
    figures = Figures()
    process.caches.adopt(figures)
    assert [await figures.nothing(), await figures.nothing(), figures.worked] == [None, None, 1]


async def test_who_keeps_nothing_tells_of_what_they_change_nevertheless(start: Start) -> None:
    """A command: its process hears no news, so it believes nothing, but it changes rows like any other."""
    server, command = await start(), await start()
    await command.bus.stop()
    command.database.remembered.clear()
    await books.all(server.reader())
    emma = await kept_book(command)
    await server.caught_up()
    assert await books.all(server.reader()) == (emma,)
