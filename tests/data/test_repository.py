"""Reading and changing rows: what a caller reaches, what a version guards, what a page holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import msgspec
import pytest

from fortress.data import (
    CreatedAt,
    Database,
    Entity,
    Generated,
    Index,
    Key,
    Numeric,
    Owner,
    Page,
    PageQuery,
    Repository,
    Text,
    Version,
    any_,
    change,
    delete,
    desc,
    func,
    many,
    one,
    page,
    param,
    select,
    update,
)
from fortress.errors import CannotStart, Invalid, NotFound, StaleVersion
from fortress.security.permissions import Method, Reach
from fortress.security.principal import ANONYMOUS, SYSTEM, Principal

if TYPE_CHECKING:
    from tests.data.conftest import Create


class State(StrEnum):
    NEW = "new"
    SENT = "sent"


class Parcel(Entity, frozen=True):
    __tablename__ = "parcels"
    __indexes__ = (
        Index("idx_parcels_owner", "owner_id", desc("created_at"), desc("id")),
        Index("idx_parcels_state", "state", desc("created_at"), desc("id")),
        Index("idx_parcels_price", "price", "id"),
    )
    id: Key
    owner_id: Owner
    state: State
    price: Annotated[Decimal, Numeric(12, 2)]
    name: Annotated[str, Text(20)]
    note: str | None
    labels: tuple[str, ...]
    states: frozenset[State]
    detail: dict[str, Any]
    seal: bytes
    due: date | None
    created_at: CreatedAt
    version: Version


class Box(Entity, frozen=True):
    __tablename__ = "boxes"
    id: Key
    name: str
    serial: Generated[int] = 0


class Total(msgspec.Struct, frozen=True):
    state: State
    parcels: int
    price: Decimal


class Parcels(Repository[Parcel]):
    by_id = one(select(Parcel).where(Parcel.c.id == param("id")))
    sent = many(select(Parcel).where(Parcel.c.state == State.SENT))
    of = many(select(Parcel).where(Parcel.c.id == any_(param("ids", list[UUID]))).order_by(Parcel.c.id), limit=3)
    count = one(select(func.count()).select_from(Parcel.table), into=int)
    names = many(select(Parcel.c.name).order_by(Parcel.c.name), into=str)
    totals = many(
        select(Parcel.c.state, func.count().label("parcels"), func.sum(Parcel.c.price).label("price")).group_by(Parcel.c.state),
        into=Total,
    )
    recent = page(select(Parcel), newest_first=Parcel.c.created_at)
    oldest = page(select(Parcel).where(Parcel.c.state == param("state")), oldest_first=Parcel.c.created_at)
    by_key = page(select(Parcel), newest_first=Parcel.c.id)
    listed = page(select(Parcel), newest_first=Parcel.c.created_at, filters=[Parcel.c.state], sorts=[Parcel.c.price])
    send = change(
        update(Parcel)
        .where(Parcel.c.id == param("id"))
        .values(state=State.SENT, detail=param("detail"), version=Parcel.c.version + 1)
        .returning(*Parcel.c)
    )
    drop = change(delete(Parcel).where(Parcel.c.state == param("state")))
    locked = one(select(Parcel).where(Parcel.c.id == param("id")).with_for_update())


class Boxes(Repository[Box]):
    by_name = many(select(Box).where(Box.c.name == param("name")))


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ME = Principal(uuid4(), Method.SESSION)
OTHER = Principal(uuid4(), Method.SESSION)
CLERK = OTHER.reaching(Reach.ANY)
parcels = Parcels()
boxes = Boxes()


def parcel(number: int = 0, owner: Principal = ME, **changed: Any) -> Parcel:
    made = Parcel(
        id=uuid4(),
        owner_id=owner.id,
        state=State.NEW,
        price=Decimal("12.50"),
        name=f"parcel {number}",
        note=None,
        labels=("fragile", "it's"),
        states=frozenset({State.NEW, State.SENT}),
        detail={"a": [1, None, {"b": "ü"}]},
        seal=b"\x00\xff",
        due=date(2026, 6, 1),
        created_at=NOON + timedelta(seconds=number),
        version=1,
    )
    return msgspec.structs.replace(made, **changed)


async def stored(database: Database, *rows: Parcel) -> list[Parcel]:
    async with database.unit(SYSTEM) as unit:
        return await parcels.add_all(unit, rows)


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Parcel, Box)


async def test_a_row_comes_back_as_it_went_in(database: Database) -> None:
    (kept,) = await stored(database, parcel())
    found = await parcels.by_id(database.reader(ME), id=kept.id)
    assert found == kept
    assert isinstance(found.state, State)
    assert found.created_at.tzinfo is not None


async def test_many_rows_come_back_as_they_went_in(database: Database) -> None:
    kept = await stored(database, *(parcel(number, note="x" if number % 2 else None) for number in range(30)))
    found = await parcels.recent(database.reader(ME), query=PageQuery(100))
    assert found.items == kept[::-1]


async def test_rows_without_arrays_go_out_unnested(database: Database) -> None:
    async with database.unit(SYSTEM) as unit:
        await boxes.add_all(unit, [Box(uuid4(), name) for name in ("a'", "b", "b")])
        with database.counting() as count:
            assert [box.name for box in await boxes.by_name(unit, name="b")] == ["b", "b"]
        assert count.round_trips == 3, "BEGIN, all three rows, the question"
        assert sorted(box.serial for box in await boxes.by_name(unit, name="b")) == [2, 3]


async def test_a_read_is_one_round_trip(database: Database) -> None:
    (kept,) = await stored(database, parcel())
    with database.counting() as count:
        await parcels.by_id(database.reader(ME), id=kept.id)
    assert count.round_trips == 1


async def test_what_is_not_there_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound) as caught:
        await parcels.by_id(database.reader(ME), id=uuid4())
    assert caught.value.code == "parcels.not_found"
    assert await parcels.by_id.maybe(database.reader(ME), id=uuid4()) is None


@pytest.mark.parametrize(("caller", "seen"), [(ME, True), (OTHER, False), (ANONYMOUS, False), (CLERK, True), (SYSTEM, True)])
async def test_a_caller_sees_what_their_reach_allows(database: Database, caller: Principal, seen: bool) -> None:
    (kept,) = await stored(database, parcel(state=State.SENT))
    reader = database.reader(caller)
    assert (await parcels.by_id.maybe(reader, id=kept.id) == kept) is seen
    assert bool(await parcels.sent(reader)) is seen
    assert bool(await parcels.of(reader, ids=[kept.id])) is seen
    assert await parcels.count(reader) == seen
    assert bool((await parcels.recent(reader, query=PageQuery())).items) is seen
    async with database.unit(caller) as unit:
        assert bool(await parcels.locked.maybe(unit, id=kept.id)) is seen


@pytest.mark.parametrize("caller", [OTHER, ANONYMOUS])
async def test_a_caller_changes_nothing_beyond_their_reach(database: Database, caller: Principal) -> None:
    (kept,) = await stored(database, parcel())
    async with database.unit(caller) as unit:
        assert await parcels.send(unit, id=kept.id, detail={}) == []
        assert await parcels.drop(unit, state=State.NEW) == 0
    with pytest.raises(StaleVersion):
        async with database.unit(caller) as unit:
            await parcels.save(unit, msgspec.structs.replace(kept, name="mine"))
    with pytest.raises(StaleVersion):
        async with database.unit(caller) as unit:
            await parcels.remove(unit, kept)
    assert await parcels.by_id(database.reader(ME), id=kept.id) == kept


async def test_a_list_is_bounded(database: Database) -> None:
    kept = await stored(database, *(parcel(number) for number in range(5)))
    assert len(await parcels.of(database.reader(ME), ids=[one.id for one in kept])) == 3


async def test_rows_become_what_the_query_says(database: Database) -> None:
    await stored(database, parcel(1), parcel(2), parcel(3, state=State.SENT))
    reader = database.reader(ME)
    assert await parcels.names(reader) == ["parcel 1", "parcel 2", "parcel 3"]
    totals = sorted(await parcels.totals(reader), key=lambda total: total.state)
    assert totals == [Total(State.NEW, 2, Decimal("25.00")), Total(State.SENT, 1, Decimal("12.50"))]
    assert all(isinstance(total.state, State) for total in totals)


async def test_a_change_returns_rows_or_their_number(database: Database) -> None:
    (kept, _) = await stored(database, parcel(1), parcel(2))
    async with database.unit(ME) as unit:
        (sent,) = await parcels.send(unit, id=kept.id, detail={"by": "hand"})
        assert sent == msgspec.structs.replace(kept, state=State.SENT, detail={"by": "hand"}, version=2)
        assert await parcels.drop(unit, state=State.NEW) == 1


async def test_saving_raises_the_version(database: Database) -> None:
    (kept,) = await stored(database, parcel())
    wanted = msgspec.structs.replace(
        kept, name="other", labels=(), states=frozenset({State.SENT}), detail={"x": 1}, due=None, note="hi", price=Decimal("0.01")
    )
    async with database.unit(ME) as unit:
        saved = await parcels.save(unit, wanted)
    assert saved == msgspec.structs.replace(wanted, version=2)
    assert await parcels.by_id(database.reader(ME), id=kept.id) == saved


async def test_a_version_that_is_gone_is_stale(database: Database) -> None:
    (kept,) = await stored(database, parcel())
    async with database.unit(ME) as unit:
        await parcels.save(unit, kept)
    with pytest.raises(StaleVersion):
        async with database.unit(ME) as unit:
            await parcels.save(unit, kept)
    with pytest.raises(StaleVersion):
        async with database.unit(ME) as unit:
            await parcels.remove(unit, kept)


async def test_removing_removes_that_version(database: Database) -> None:
    (kept,) = await stored(database, parcel())
    async with database.unit(ME) as unit:
        await parcels.remove(unit, kept)
    assert await parcels.by_id.maybe(database.reader(ME), id=kept.id) is None


async def walk(database: Database, limit: int, caller: Principal = ME) -> list[Parcel]:
    seen: list[Parcel] = []
    cursor: str | None = None
    for _ in range(100):
        found: Page[Parcel] = await parcels.recent(database.reader(caller), query=PageQuery(limit, cursor))
        assert len(found.items) <= limit
        seen += found.items
        cursor = found.next
        if cursor is None:
            return seen
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
async def test_pages_hold_each_row_once_and_in_order(database: Database, limit: int) -> None:
    kept = await stored(database, *(parcel(number // 3) for number in range(7)), parcel(owner=OTHER))
    mine = sorted((one for one in kept if one.owner_id == ME.id), key=lambda one: (one.created_at, one.id), reverse=True)
    assert await walk(database, limit) == mine


async def test_pages_are_stable_while_rows_arrive(database: Database) -> None:
    kept = await stored(database, *(parcel(number) for number in range(6)))
    first = await parcels.recent(database.reader(ME), query=PageQuery(3))
    await stored(database, *(parcel(number) for number in range(10, 15)))
    second = await parcels.recent(database.reader(ME), query=PageQuery(3, first.next))
    assert [*first.items, *second.items] == kept[::-1]
    assert second.next is None


async def test_pages_go_either_way_and_take_parameters(database: Database) -> None:
    kept = await stored(database, *(parcel(number) for number in range(4)), parcel(9, state=State.SENT))
    reader = database.reader(ME)
    first = await parcels.oldest(reader, query=PageQuery(3), state=State.NEW)
    second = await parcels.oldest(reader, query=PageQuery(3, first.next), state=State.NEW)
    assert [*first.items, *second.items] == kept[:4]
    by_key = await parcels.by_key(reader, query=PageQuery(4))
    rest = await parcels.by_key(reader, query=PageQuery(4, by_key.next))
    assert [*by_key.items, *rest.items] == sorted(kept, key=lambda one: one.id, reverse=True)


async def test_a_cursor_is_of_one_list_and_one_caller(database: Database) -> None:
    await stored(database, *(parcel(number) for number in range(4)))
    cursor = (await parcels.recent(database.reader(ME), query=PageQuery(2))).next
    assert cursor is not None
    for query, caller in ((parcels.recent, OTHER), (parcels.recent, CLERK), (parcels.by_key, ME)):
        with pytest.raises(Invalid) as caught:
            await query(database.reader(caller), query=PageQuery(2, cursor))
        assert [error.field for error in caught.value.errors] == ["?cursor"]


@pytest.mark.parametrize("sort", ["price", "-price", "created_at", "-created_at", None])
@pytest.mark.parametrize("state", [None, State.NEW, State.SENT])
async def test_a_list_is_narrowed_and_sorted_by_what_it_declares(database: Database, sort: str | None, state: State | None) -> None:
    prices = ("3.00", "1.00", "3.00", "2.00", "1.00", "2.00", "3.00")
    states = (State.NEW, State.SENT)
    kept = await stored(database, *(parcel(number, price=Decimal(price), state=states[number % 2]) for number, price in enumerate(prices)))
    await stored(database, parcel(owner=OTHER))
    seen: list[Parcel] = []
    cursor = None
    for _ in range(len(kept)):
        asked = PageQuery(2, cursor, sort, {} if state is None else {"state": state})
        found = await parcels.listed(database.reader(ME), query=asked)
        seen += found.items
        cursor = found.next
        if cursor is None:
            break
    column, down = (sort or "-created_at").removeprefix("-"), (sort or "-created_at").startswith("-")
    wanted = sorted((one for one in kept if state in (None, one.state)), key=lambda one: (getattr(one, column), one.id), reverse=down)
    assert seen == wanted


async def test_a_cursor_is_of_one_order_and_its_filters(database: Database) -> None:
    await stored(database, *(parcel(number) for number in range(6)))
    new = {"state": State.NEW}
    cursor = (await parcels.listed(database.reader(ME), query=PageQuery(2, None, "price", new))).next
    assert (await parcels.listed(database.reader(ME), query=PageQuery(2, cursor, "price", new))).items
    for asked in (
        PageQuery(2, cursor),
        PageQuery(2, cursor, "price"),
        PageQuery(2, cursor, "-price", new),
        PageQuery(2, cursor, None, new),
        PageQuery(2, cursor, "price", {"state": State.SENT}),
    ):
        with pytest.raises(Invalid) as caught:
            await parcels.listed(database.reader(ME), query=asked)
        assert [error.field for error in caught.value.errors] == ["?cursor"]


async def test_what_a_list_does_not_declare_is_a_mistake_of_the_program(database: Database) -> None:
    for asked in (PageQuery(sort="name"), PageQuery(filters={"name": "x"})):
        with pytest.raises(CannotStart, match=r"Parcels\.listed declares neither filters= nor sorts= of name"):
            await parcels.listed(database.reader(ME), query=asked)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"filters": [Parcel.c.name]}, "no index of parcels begins with it"),
        ({"sorts": [Parcel.c.name]}, "no index of parcels begins with it"),
        ({"sorts": [Parcel.c.note]}, "never null"),
        ({"filters": [Parcel.c.note]}, "never null"),
    ],
)
def test_what_a_list_is_narrowed_and_sorted_by_has_an_index(columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(CannotStart, match=problem):

        class Odd(Repository[Parcel]):
            odd = page(select(Parcel), newest_first=Parcel.c.created_at, **columns)


@pytest.mark.parametrize("limit", [0, -1, 101, 10**30])
def test_a_page_has_1_to_100_items(limit: int) -> None:
    with pytest.raises(Invalid) as caught:
        PageQuery(limit)
    assert caught.value.errors[0].field == "?limit"


async def test_a_page_goes_out_as_json(database: Database) -> None:
    (kept,) = await stored(database, parcel())
    found = msgspec.json.decode(msgspec.json.encode(await parcels.recent(database.reader(ME), query=PageQuery())))
    assert found["next"] is None
    assert (found["items"][0]["price"], found["items"][0]["state"]) == ("12.50", "new")
    assert found["items"][0]["id"] == str(kept.id)


@pytest.mark.parametrize(
    "changed", [{"name": "a\0b"}, {"name": "\ud800"}, {"version": 2**70}, {"price": Decimal("1e30")}, {"name": "x" * 21}]
)
async def test_what_cannot_be_stored_is_invalid(database: Database, changed: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await stored(database, parcel(**changed))
    assert database.writers.in_use == 0
    assert database.writers.opened == 1


async def test_what_cannot_be_asked_is_invalid(database: Database) -> None:
    for name in ("a\0b", "\ud800"):
        with pytest.raises(Invalid):
            await boxes.by_name(database.reader(ME), name=name)
    assert database.readers.opened == 1
