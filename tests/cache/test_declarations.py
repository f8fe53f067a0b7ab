"""What can't be kept does not start; what is kept wrongly does not type-check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy as sa
from tests.cache.library import ANN, BEN, Book, Chapter, Note

from fortress.cache import CachedMany, CachedMethod, CachedOne, CachedPages, cached
from fortress.cache.caches import declared
from fortress.cache.plan import version_of
from fortress.data import Blind, Entity, Key, Owner, Personal, Repository, blind, change, many, one, page, param, select, update
from fortress.errors import CannotStart
from fortress.security import Principal


class Person(Entity, frozen=True):
    __tablename__ = "people"

    id: Key
    owner_id: Owner
    email: Personal[str]
    age: int
    email_key: Annotated[bytes, Blind("email")] = b""


class Tagged(Entity, frozen=True):
    __tablename__ = "tagged"

    id: Key
    tags: list[str]


class Loose(msgspec.Struct):
    title: str


@dataclass
class LooseData:
    title: str


class Anything(msgspec.Struct, frozen=True):
    title: Any


class Holding(msgspec.Struct, frozen=True):
    title: LooseData


def prepared(query: Any, name: str = "all") -> Any:
    query.__set_name__(type("Some", (), {}), name)
    query.prepare()
    return query


BY_ID = select(Book).where(Book.c.id == param("id"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cached(many(select(Person)), seconds=1), "SEC002"),
        (lambda: cached(one(select(Person.c.age).where(Person.c.email_key == blind("email")), into=int), seconds=1), "SEC002"),
        (lambda: cached(many(select(Tagged)), seconds=1), "list"),
        (lambda: cached(many(select(Book.c.title), into=Loose), seconds=1), "not frozen"),
        (lambda: cached(many(select(Book.c.title), into=Anything), seconds=1), "any"),
        (lambda: cached(many(select(Book.c.title), into=Holding), seconds=1), "LooseData is not frozen"),
        (lambda: cached(one(BY_ID.with_for_update()), seconds=1), "locks rows"),
        (lambda: cached(many(select(Book).where(sa.text("copies > (SELECT 1)"))), seconds=1), "plain SQL"),
        (lambda: cached(one(BY_ID), seconds=0), "absent_seconds"),
        (lambda: cached(one(BY_ID), seconds=90_000), "absent_seconds"),
        (lambda: cached(one(BY_ID), seconds=1, absent_seconds=2), "absent_seconds"),
        (lambda: cached(many(BY_ID), seconds=1, most=0), "most"),
    ],
    ids=["personal", "looked up", "list", "not frozen", "any", "data", "locked", "text", "no time", "too long", "absent", "none"],
)
def test_what_may_not_be_kept_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(CannotStart, match=said) as refused:
        prepared(make())
    assert "cached Some.all" in refused.value.problem


def test_columns_of_a_person_that_are_not_personal_may_be_kept() -> None:
    assert prepared(cached(many(select(Person.c.age), into=int), seconds=1)).plan.tables == {"people"}


def test_only_what_reads_can_be_kept() -> None:
    with pytest.raises(CannotStart, match="only what one, many and page make"):
        cached(change(update(Book).values(copies=0)), seconds=1)  # type: ignore[call-overload]
    with pytest.raises(CannotStart, match="only what one, many and page make"):
        cached(cached(one(BY_ID), seconds=1), seconds=1)  # type: ignore[call-overload]


def test_wrong_use_does_not_type_check() -> None:
    """Mypy says where an ignore is not needed, so each of these lines is a test."""
    with pytest.raises(TypeError):
        cached(one(BY_ID))  # type: ignore[call-overload]
    cached(many(BY_ID), seconds=1, version=2)  # type: ignore[call-overload]
    cached(seconds=1)  # type: ignore[call-overload]
    kept: CachedMany[Book] = cached(many(BY_ID), seconds=1)
    pages: CachedPages[Book] = cached(page(select(Book), newest_first=Book.c.id), seconds=1)
    found: CachedOne[Chapter] = cached(one(BY_ID), seconds=1)  # type: ignore[arg-type]
    assert isinstance(kept, CachedMany)
    assert isinstance(pages, CachedPages)
    assert isinstance(found, CachedOne)

    @cached(seconds=1, reads=[Book])  # type: ignore[arg-type]  # not a coroutine function
    def plain(self: object) -> int:
        return 1

    assert isinstance(plain, CachedMethod)


def test_no_release_reads_what_another_wrote() -> None:
    def fields(**kinds: Any) -> Any:
        return msgspec.defstruct("View", list(kinds.items()), frozen=True)

    shapes = [fields(a=int), fields(b=int), fields(a=str), fields(a=int, b=int), fields(a=int | None), fields(a=fields(a=int))]
    versions = {version_of(shape, "SELECT 1") for shape in shapes}
    assert len(versions) == len(shapes)
    assert version_of(int, "SELECT 1") == version_of(int, "SELECT 1") != version_of(int, "SELECT 2")
    queries = [cached(page(select(Book), newest_first=Book.c.id), seconds=1), cached(page(select(Book), oldest_first=Book.c.id), seconds=1)]
    assert len({prepared(query).plan.version for query in queries}) == 2


def test_an_answer_about_one_row_is_known_as_such() -> None:
    id = uuid4()
    by_id = prepared(cached(one(BY_ID.where(Book.c.copies > 0)), seconds=1))
    assert (by_id.plan.row_table, by_id.row({"id": id}), by_id.row({"id": str(id).upper()})) == ("books", id, id)
    either = select(Book).where((Book.c.id == param("id")) | (Book.c.copies == 0))
    beside = BY_ID.where(Book.c.copies > select(sa.func.count()).select_from(Chapter.table).scalar_subquery())
    joined = BY_ID.join_from(Book.table, Chapter.table, Chapter.c.book_id == Book.c.id)
    for statement in (either, beside, joined, select(Book).where(Book.c.id > param("id"))):
        assert prepared(cached(many(statement), seconds=1)).plan.row_table is None


class Author(msgspec.Struct, frozen=True):
    name: str


class Service:
    @cached(seconds=60, reads=[Book])
    async def authors(self, caller: Principal, letter: str = "a") -> tuple[Author, ...]:
        return (Author(f"{letter} {caller.id}"),)


class Careless:
    @cached(seconds=60, reads=[Person])
    async def emails(self) -> tuple[str, ...]:
        return ()


class Vague:
    @cached(seconds=60, reads=[Book])
    async def titles(self) -> list[str]:
        return []


class Idle:
    @cached(seconds=60, reads=[])
    async def nothing(self) -> int:
        return 1


@dataclass
class Untold:
    @cached(seconds=60, reads=[Book])
    async def something(self):  # type: ignore[no-untyped-def]  # that is what is refused
        return 1


@pytest.mark.parametrize(
    ("service", "said"), [(Careless, "SEC002"), (Vague, "list"), (Idle, "reads nothing"), (Untold, "any")], ids=["s", "l", "n", "a"]
)
def test_a_method_that_may_not_be_kept_is_refused(service: type[Any], said: str) -> None:
    with pytest.raises(CannotStart, match=said):
        declared([service], [])


def test_a_cascade_is_followed_through_all_tables() -> None:
    class Chapters(Repository[Chapter]):
        all = cached(many(select(Chapter)), seconds=1)

    found = declared([Chapters, Service], [Book, Chapter, Note])
    assert found.tables == {"books", "chapters"}
    assert {plan.name for plan in found.methods.values()} == {"Service.authors"}


def test_two_of_one_name_are_refused() -> None:
    def repository() -> type[Any]:
        class Books(Repository[Book]):
            all = cached(many(select(Book)), seconds=1)

        return Books

    with pytest.raises(CannotStart, match=r"two cached .* are called Books.all"):
        declared([repository(), repository()], [])


async def test_a_method_is_plain_where_no_server_has_made_its_service() -> None:
    service = Service()
    first, second = await service.authors(ANN), await service.authors(ANN)
    assert first == second
    assert first is not second
    assert await service.authors(BEN, letter="b") == (Author(f"b {BEN.id}"),)
