"""Personal data: encrypted where it is kept, plain where it is read, refused wherever it was moved (ASVS V11.3.3, V14.2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pytest

from fortress.data import Contended, Database, PageQuery
from fortress.data.entity import shape_of
from fortress.errors import CannotStart, Invalid
from fortress.security.principal import SYSTEM
from fortress.security.wrapping import Unreadable

if TYPE_CHECKING:
    from tests.data.conftest import Create, Open

from tests.data.people import EmailTaken, Human, Letter, born, human, humans, kept, letter, letters

Admin = Any


@pytest.fixture(autouse=True)
async def tables(create: Create) -> None:
    await create(Human, Letter)


@pytest.fixture(autouse=True)
async def informed(tables: None, database: Database) -> None:
    """As while a bus is heard, and with the keys of the indexes at hand."""
    trust(database)
    await database.personal.indexes.ready({"humans.email_key", "humans.name_key"})


def trust(database: Database) -> None:
    database.personal.data._belief.trust(lambda: True)
    database.personal.indexes._belief.trust(lambda: True)


async def test_a_row_comes_back_as_it_went_in(database: Database, connect: Open) -> None:
    ann, ben = human(), human("ben@example.com", name=None, face=None)
    await born(database, ann, ben)
    for reader in (database.reader(SYSTEM), (await connect()).reader(SYSTEM)):
        assert await humans.by_id(reader, id=ann.id) == ann
        assert await humans.by_id.maybe(reader, id=ben.id) == ben
        assert await humans.some(reader, ids=[ann.id, ben.id]) == [ann, ben]
        assert (await humans.recent(reader, query=PageQuery())).items == [ben, ann]
        assert await humans.nameless(reader) == [ben]


async def test_nothing_of_it_can_be_read_in_the_tables(database: Database, admin: Admin) -> None:
    marker = "PLANTED-MARKER"
    ann = human(f"{marker}@example.com", name=marker, face=marker.encode())
    await born(database, ann)
    await kept(database, letter(ann.id, marker))
    for table in ("humans", "letters", "data_keys", "index_keys"):
        whole = str(await admin.fetch(f"SELECT t::text FROM {table} t"))
        assert marker not in whole
        assert marker.encode().hex() not in whole
        assert whole != "[]"


async def test_a_new_persons_key_and_rows_are_one_round_trip(database: Database) -> None:
    ann = human()
    with database.counting() as count:
        async with database.unit(SYSTEM) as unit:
            await humans.add(unit, ann)
            await letters.add(unit, letter(ann.id))
            unit.notify("humans:born")
    assert count.round_trips == 1
    with database.counting() as count:
        await kept(database, letter(ann.id))
    assert count.round_trips == 1, "their key is known"


async def test_a_unit_reads_what_it_has_written(database: Database) -> None:
    ann = human()
    async with database.unit(SYSTEM) as unit:
        await humans.add(unit, ann)
        assert await humans.by_id(unit, id=ann.id) == ann
        await letters.add(unit, letter(ann.id, title="b"))
        assert [one.text for one in await letters.all(unit)] == ["dear diary"]


async def test_a_page_costs_one_query_and_a_second_for_keys_that_are_not_at_hand(database: Database, connect: Open) -> None:
    people = [human(f"{number}@example.com") for number in range(50)]
    await born(database, *people)
    other = await connect()
    trust(other)
    for expected in (2, 1):
        with other.counting() as count:
            assert len((await humans.recent(other.reader(SYSTEM), query=PageQuery(50))).items) == 50
        assert count.round_trips == expected


async def test_a_key_that_somebody_else_made_first_is_found_on_the_second_try(database: Database, connect: Open) -> None:
    other, ann = await connect(), uuid4()
    async with database.unit(SYSTEM) as unit:
        await letters.add(unit, letter(ann, "mine", "a"))
        _, missing = database.personal.data.ready([ann])
        assert missing == [ann]
        await kept(other, letter(ann, "theirs", "b"))
    assert [one.text for one in await letters.all(database.reader(SYSTEM))] == ["mine", "theirs"]


async def test_who_loses_the_race_for_a_first_key_starts_over(database: Database, connect: Open) -> None:
    other, ann = await connect(), human()
    await kept(other, letter(ann.id))
    with pytest.raises(Contended):
        await born(database, ann)
    await born(database, ann)
    assert await humans.by_id(database.reader(SYSTEM), id=ann.id) == ann


async def test_what_was_rolled_back_leaves_no_key(database: Database) -> None:
    ann = human()
    with pytest.raises(EmailTaken):
        await born(database, ann, human(ann.email))
    await kept(database, letter(ann.id))
    assert [one.text for one in await letters.all(database.reader(SYSTEM))] == ["dear diary"]


async def test_a_row_is_saved_with_fresh_nonces_and_comes_back(database: Database, admin: Admin) -> None:
    ann = human()
    await born(database, ann)
    before = await admin.fetchrow("SELECT email, email_key, name FROM humans")
    async with database.unit(SYSTEM) as unit:
        saved = await humans.save(unit, msgspec.structs.replace(ann, name=None, points=7))
    assert await humans.by_id(database.reader(SYSTEM), id=ann.id) == saved
    after = await admin.fetchrow("SELECT email, email_key, name FROM humans")
    assert before is not None
    assert after is not None
    assert before["email"] != after["email"]
    assert before["email_key"] == after["email_key"]
    assert after["name"] is None


async def test_a_first_value_may_come_by_a_save(database: Database) -> None:
    mine = letter(uuid4(), None)
    await kept(database, mine)
    async with database.unit(SYSTEM) as unit:
        saved = await letters.save(unit, msgspec.structs.replace(mine, text="at last"))
    assert await letters.by_id(database.reader(SYSTEM), id=mine.id) == saved


async def test_a_row_may_change_its_owner(database: Database) -> None:
    ann, ben = human(), human("ben@example.com")
    await born(database, ann, ben)
    mine = letter(ann.id)
    await kept(database, mine)
    async with database.unit(SYSTEM) as unit:
        given = await letters.save(unit, msgspec.structs.replace(mine, human_id=ben.id))
    assert await letters.by_id(database.reader(SYSTEM), id=mine.id) == given


MOVES = {
    "another row": "UPDATE humans a SET email = b.email FROM humans b WHERE a.id <> b.id",
    "another column": "UPDATE humans SET email = name",
    "another person": "UPDATE letters SET human_id = (SELECT id FROM humans WHERE id <> human_id LIMIT 1)",
    "a changed byte": "UPDATE humans SET email = set_byte(email, 20, get_byte(email, 20) # 1)",
    "one value's format": "UPDATE humans SET email = set_byte(email, 0, 1)",
    "another format": "UPDATE humans SET email = set_byte(email, 0, 3)",
    "the mark of others": "UPDATE humans SET email = '\\x02'",
    "what was never there": "UPDATE humans SET face = '\\x02'",
    "somebody's whole": "UPDATE humans SET name = email",
    "an unknown version": "UPDATE humans SET email = set_byte(email, 4, 9)",
    "cut short": "UPDATE humans SET email = substring(email FROM 1 FOR 20)",
    "nothing": "UPDATE humans SET email = ''",
    "a lost key": "DELETE FROM data_keys",
    "a changed key": "UPDATE data_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)",
    "a stranger's key": "UPDATE data_keys a SET wrapped = b.wrapped FROM data_keys b WHERE a.id <> b.id",
    "an unknown wrapping key": "UPDATE data_keys SET key_id = 'ring:nobody'",
}


@pytest.mark.parametrize("moved", MOVES.values(), ids=MOVES.keys())
async def test_what_was_moved_or_changed_is_refused_and_counted(database: Database, connect: Open, admin: Admin, moved: str) -> None:
    ann, ben = human(face=None), human("ben@example.com", face=None)
    await born(database, ann, ben)
    await kept(database, letter(ann.id))
    await admin.execute(moved)
    other = await connect()
    reader = other.reader(SYSTEM)
    with pytest.raises(Unreadable):
        await (letters.all(reader) if "letters" in moved else humans.recent(reader, query=PageQuery()))
    assert other.personal.unreadable >= 1


async def test_what_each_stood_for_itself_is_read_until_it_is_written_again(database: Database, admin: Admin) -> None:
    """As of an entity that had one personal field, and got a second one."""
    ann, ben = human(), human("ben@example.com")
    await born(database, ann, ben)
    fields = shape_of(Human).personal
    assert fields is not None
    cipher = (await database.personal.data.load([ann.id]))[ann.id].latest
    assert cipher is not None
    alone = [cipher.seal(field.place, ann.id.bytes, field.plain(getattr(ann, field.name))) for field in fields.sealed]
    await admin.execute("UPDATE humans SET email = $2, name = $3, face = $4 WHERE id = $1", ann.id, *alone)
    assert set(await humans.some(database.reader(SYSTEM), ids=[ann.id, ben.id])) == {ann, ben}
    async with database.unit(SYSTEM) as unit:
        written = await humans.save(unit, msgspec.structs.replace(ann, name=None))
    assert await humans.by_id(database.reader(SYSTEM), id=ann.id) == written
    sizes = await admin.fetchrow("SELECT length(email) > 60, name IS NULL, length(face) FROM humans WHERE id = $1", ann.id)
    assert tuple(sizes) == (True, True, 1)


async def test_what_an_update_has_emptied_is_empty(database: Database, admin: Admin) -> None:
    ann, ben = human(), human("ben@example.com")
    await born(database, ann, ben)
    await admin.execute("UPDATE humans SET name = NULL, name_key = NULL WHERE id = $1", ann.id)
    found = await humans.some(database.reader(SYSTEM), ids=[ann.id, ben.id])
    assert {one.email: one.name for one in found} == {"ann@example.com": None, "ben@example.com": "Ann"}


async def test_an_alarm_says_where_and_never_what(database: Database, admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    ann = human()
    await born(database, ann)
    await admin.execute(MOVES["a changed byte"])
    with pytest.raises(Unreadable) as caught:
        await humans.by_id(database.reader(SYSTEM), id=ann.id)
    assert "example" not in f"{caught.value!r}{caplog.text}"


async def test_an_address_is_found_by_any_spelling_that_is_the_same(database: Database) -> None:
    ann = human("Ann@Example.com")
    await born(database, ann)
    reader = database.reader(SYSTEM)
    with database.counting() as count:
        assert await humans.by_email(reader, email="ANN@example.COM") == ann
    assert count.round_trips == 1
    assert await humans.by_email.maybe(reader, email="ben@example.com") is None
    assert await humans.by_email.maybe(reader, email="\ud800") is None
    assert await humans.by_email.maybe(reader, email=None) is None
    assert await humans.named(reader, name="ANN", points=0) == [ann]
    assert await humans.named(reader, name="ann", points=1) == []


async def test_what_is_the_same_is_not_there_twice(database: Database) -> None:
    await born(database, human("ann@example.com"))
    with pytest.raises(EmailTaken):
        await born(database, human("ANN@example.com"))
    ben = human("ben@example.com")
    await born(database, ben)
    with pytest.raises(EmailTaken):
        async with database.unit(SYSTEM) as unit:
            await humans.save(unit, msgspec.structs.replace(ben, email="ann@EXAMPLE.com"))


async def test_a_value_that_is_not_there_is_not_indexed(database: Database, admin: Admin) -> None:
    await born(database, human(name=None), human("ben@example.com", name=None))
    assert [row["name_key"] for row in await admin.fetch("SELECT name_key FROM humans")] == [None, None]


async def test_a_change_finds_and_gives_what_is_personal(database: Database) -> None:
    ann = human()
    await born(database, ann)
    async with database.unit(SYSTEM) as unit:
        assert await humans.reward(unit, email="Ann@example.com") == [msgspec.structs.replace(ann, points=1)]


async def test_a_query_says_which_plain_value_it_wants(database: Database) -> None:
    with pytest.raises(TypeError, match=r"takes \(email\), not \(\)"):
        await humans.by_email(database.reader(SYSTEM))


async def test_what_is_no_text_is_invalid(database: Database) -> None:
    with pytest.raises(Invalid):
        await born(database, human(name="\ud800"))


async def test_without_keys_that_wrap_nothing_personal_is_written(database: Database) -> None:
    from fortress.data.personal.vault import NoWrapping

    database.personal.data._wrapping = NoWrapping()
    with pytest.raises(CannotStart, match="wrap"):
        await born(database, human())


def test_nothing_of_a_row_or_a_key_is_shown() -> None:
    shown: list[Any] = [human(), letter(uuid4())]
    assert "ann" not in repr(shown).lower().replace("human", "")
