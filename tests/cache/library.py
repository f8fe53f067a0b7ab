"""What the tests of the cache keep: books that everyone sees, notes that have owners, chapters that go with their book."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec

from fortress.cache import cached
from fortress.data import Entity, Key, Owner, References, Repository, Version, change, func, many, one, page, param, select, update
from fortress.security import Method, Principal, Reach


class Book(Entity, frozen=True):
    __tablename__ = "books"

    id: Key
    title: str
    copies: int
    version: Version


class Chapter(Entity, frozen=True):
    __tablename__ = "chapters"

    id: Key
    book_id: Annotated[UUID, References("books.id", on_delete="CASCADE")]
    title: str


class Note(Entity, frozen=True):
    __tablename__ = "notes"

    id: Key
    owner_id: Owner
    text: str


class Loan(Entity, frozen=True):
    """Nothing of it is cached."""

    __tablename__ = "loans"

    id: Key
    book_id: UUID


class Thickness(msgspec.Struct, frozen=True):
    title: str
    chapters: int


_thick = select(Chapter.c.book_id, func.count().label("chapters")).group_by(Chapter.c.book_id).cte("thick")


class Books(Repository[Book]):
    by_id = cached(one(select(Book).where(Book.c.id == param("id"))), seconds=60)
    all = cached(many(select(Book).order_by(Book.c.title)), seconds=60, most=50)
    recent = cached(page(select(Book), oldest_first=Book.c.id), seconds=60)
    thickness = cached(
        many(
            select(Book.c.title, _thick.c.chapters).join_from(Book.table, _thick, Book.c.id == _thick.c.book_id).order_by(Book.c.title),
            into=Thickness,
        ),
        seconds=60,
    )
    lend = change(update(Book).where(Book.c.id == param("id")).values(copies=Book.c.copies - 1))
    restock = change(update(Book).values(copies=Book.c.copies + 1))
    stored = many(select(Book).order_by(Book.c.title))


class Chapters(Repository[Chapter]):
    all = cached(many(select(Chapter).order_by(Chapter.c.title)), seconds=60)
    by_id = cached(one(select(Chapter).where(Chapter.c.id == param("id"))), seconds=60)


class Notes(Repository[Note]):
    all = cached(many(select(Note).order_by(Note.c.text)), seconds=60)
    by_id = cached(one(select(Note).where(Note.c.id == param("id"))), seconds=60)
    recent = cached(page(select(Note), oldest_first=Note.c.id), seconds=60)


class Loans(Repository[Loan]):
    all = many(select(Loan))


class Figures:
    """What is worked out of several questions."""

    def __init__(self) -> None:
        self.worked = 0

    @cached(seconds=60, reads=[Book, Chapter])
    async def average(self, caller: Principal, least: int = 0) -> tuple[str, int]:
        """Not what its name says, but it depends on everything that it is given."""
        self.worked += 1
        return str(caller.id), least

    @cached(seconds=60, reads=[Book])
    async def nothing(self) -> int | None:
        self.worked += 1
        return None


REPOSITORIES: list[type[Any]] = [Books, Chapters, Notes, Loans, Figures]
ENTITIES: list[type[Entity]] = [Book, Chapter, Note, Loan]
books, chapters, notes, loans = Books(), Chapters(), Notes(), Loans()
ANN = Principal(uuid4(), Method.SESSION)
BEN = Principal(uuid4(), Method.SESSION)
CLERK = Principal(uuid4(), Method.SESSION, reach=Reach.ANY)


def book(title: str = "Emma") -> Book:
    return Book(uuid4(), title, 3, 1)
