"""What a query's text says, before any database is asked."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from fortress.data import (
    CreatedAt,
    Entity,
    Key,
    Owner,
    Repository,
    and_,
    any_,
    change,
    delete,
    exists,
    func,
    many,
    one,
    page,
    param,
    select,
    update,
)
from fortress.data.catalogue import declared_repositories
from fortress.data.compile import Compiled, scoped
from fortress.errors import CannotStart


class State(StrEnum):
    OPEN = "open"
    SHUT = "shut"


class Case(Entity, frozen=True):
    __tablename__ = "cases"
    id: Key
    owner_id: Owner
    state: State
    detail: dict[str, Any]
    ended: datetime | None
    created_at: CreatedAt


class Paper(Entity, frozen=True):
    __tablename__ = "papers"
    id: Key
    case_id: UUID
    title: str


class Note(Entity, frozen=True):
    __tablename__ = "notes"
    id: Key
    writer_id: Owner
    case_id: UUID


def own(statement: Any) -> str:
    narrowed = scoped(statement)
    assert narrowed is not None
    return Compiled(narrowed).sql


def test_constants_are_part_of_the_text() -> None:
    compiled = Compiled(select(Case.c.id).where(Case.c.state == State.OPEN, Case.c.id == param("id")).limit(5))
    assert "cases.state = 'open'" in compiled.sql
    assert "LIMIT 5" in compiled.sql
    assert compiled.names == ("id",)


@pytest.mark.parametrize("hostile", ["'; DROP TABLE cases --", "\\'", "a\\", "%(x)s %s", "$1", ":name"])
def test_a_constant_stays_a_value(hostile: str) -> None:
    compiled = Compiled(select(Paper.c.id).where(Paper.c.title == hostile))
    quoted = "'" + hostile.replace("'", "''") + "'"
    assert compiled.sql.endswith(f"papers.title = {quoted}")
    assert compiled.names == ()


def test_a_list_of_constants_is_part_of_the_text() -> None:
    assert "IN ('open', 'shut')" in Compiled(select(Case.c.id).where(Case.c.state.in_(list(State)))).sql


def test_a_list_given_at_each_call_is_an_array() -> None:
    assert "= ANY ($1::UUID[])" in Compiled(select(Case.c.id).where(Case.c.id == any_(param("ids", list[UUID])))).sql
    with pytest.raises(CannotStart, match="any_"):
        Compiled(select(Case.c.id).where(Case.c.id.in_(param("ids"))))


def test_a_parameter_may_be_named_like_the_column_it_sets() -> None:
    compiled = Compiled(update(Case).where(Case.c.id == param("id")).values(state=param("state"), detail=param("detail")))
    given = {"id": UUID(int=1), "state": State.SHUT, "detail": {"why": None}}
    assert dict(zip(compiled.names, compiled.arguments(given), strict=True)) == given | {"detail": '{"why":null}'}


@pytest.mark.parametrize("given", [{}, {"id": 1, "more": 2}, {"other": 1}])
def test_a_call_with_other_parameters_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"the query takes \(id\)"):
        Compiled(select(Case.c.id).where(Case.c.id == param("id"))).arguments(given)


def test_what_has_no_owner_is_not_scoped() -> None:
    assert scoped(select(Paper)) is None


def test_what_has_an_owner_is_scoped() -> None:
    assert "cases.owner_id = $1::UUID" in own(select(Case))
    assert "cases.owner_id = $1::UUID" in own(delete(Case))
    assert "cases.owner_id = $1::UUID" in own(update(Case).values(state=State.SHUT))


def test_a_join_is_scoped_by_every_owner_in_it() -> None:
    joined = select(Paper).join(Case.table, Case.c.id == Paper.c.case_id).join(Note.table, Note.c.case_id == Case.c.id)
    assert "cases.owner_id = $1::UUID AND notes.writer_id = $1::UUID" in own(joined)


def test_an_alias_is_scoped() -> None:
    other = Case.table.alias("other")
    assert "other.owner_id = $1::UUID" in own(sa.select(other.c.id))


@pytest.mark.parametrize(
    "statement",
    [
        select(Paper).where(exists(select(Case).where(Case.c.id == Paper.c.case_id))),
        select(Paper).where(Paper.c.case_id.in_(select(Case.c.id))),
        select(func.count()).select_from(select(Case.c.id).subquery()),
        select(func.count()).select_from(select(Case.c.id).cte("mine")),
        select(Paper).where(exists(select(Paper.c.id).where(Paper.c.id.in_(select(Case.c.id))))),
        sa.union_all(select(Case.c.id), select(Paper.c.id)),
        update(Paper).values(title="x").where(Paper.c.case_id == Case.c.id),
        update(Paper).values(title="x").where(Paper.c.case_id.in_(select(Case.c.id))),
        delete(Paper).where(exists(select(Case.c.id).where(Case.c.id == Paper.c.case_id))),
    ],
)
def test_an_owner_anywhere_in_the_statement_is_scoped(statement: Any) -> None:
    assert own(statement).count("cases.owner_id = $1::UUID") == 1


def test_an_outer_join_is_scoped_too() -> None:
    joined = select(Paper).outerjoin(Case.table, and_(Case.c.id == Paper.c.case_id))
    assert "cases.owner_id = $1::UUID" in own(joined)


def test_every_list_has_a_bound() -> None:
    class Cases(Repository[Case]):
        usual = many(select(Case))
        few = many(select(Case), limit=7)
        own = many(select(Case).limit(param("most", int)))
        single = one(select(Case).where(Case.c.id == param("id")))

    assert "LIMIT 1000" in Cases.usual.sql
    assert "LIMIT 7" in Cases.few.sql
    assert "LIMIT $1::BIGINT" in Cases.own.sql
    assert "LIMIT 1" in Cases.single.sql


def test_queries_are_named_and_listed() -> None:
    class Papers(Repository[Paper]):
        all = many(select(Paper))
        rename = change(update(Paper).values(title=param("title")))

    assert [query.name for query in Papers.queries.values()] == ["Papers.all", "Papers.rename"]
    assert Papers in list(declared_repositories())
    assert Papers.entity is Paper


class Total(msgspec.Struct, frozen=True):
    owner_id: UUID
    cases: int


def test_rows_that_are_no_entity_say_what_they_become() -> None:
    statement = select(Case.c.owner_id, func.count().label("cases")).group_by(Case.c.owner_id)
    many(statement, into=Total)
    with pytest.raises(CannotStart, match="into="):
        many(statement)
    with pytest.raises(CannotStart, match=r"Total has the fields \(owner_id, cases\)"):
        many(select(Case.c.owner_id, func.count().label("count")), into=Total)
    with pytest.raises(CannotStart, match="one value"):
        one(statement, into=int)


def test_a_struct_with_keyword_only_fields_is_refused() -> None:
    class Loose(msgspec.Struct, kw_only=True):
        id: UUID

    with pytest.raises(CannotStart, match="keyword-only"):
        many(select(Case.c.id), into=Loose)


def test_a_page_is_sorted_by_what_is_there_and_selected() -> None:
    with pytest.raises(CannotStart, match="never null"):
        page(select(Case), newest_first=Case.c.ended)
    with pytest.raises(CannotStart, match="must select it"):
        page(select(Case.c.owner_id), into=UUID, newest_first=Case.c.created_at)


def test_a_repository_says_what_it_holds() -> None:
    with pytest.raises(CannotStart, match=r"Repository\[Entity\]"):

        class Nothing(Repository):  # type: ignore[type-arg]
            pass
