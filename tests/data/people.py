"""What the tests of personal data write: people, and letters that they keep."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec

from fortress.clock import SystemClock
from fortress.data import (
    Blind,
    CreatedAt,
    Database,
    Entity,
    Index,
    Key,
    Owner,
    OwnKey,
    Personal,
    Repository,
    Text,
    Unique,
    Version,
    any_,
    blind,
    change,
    desc,
    many,
    one,
    page,
    param,
    select,
    update,
)
from fortress.errors import Conflict
from fortress.security.principal import SYSTEM


class EmailTaken(Conflict):
    """That address is somebody's."""

    code = "people.email_taken"


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


class Human(Entity, frozen=True):
    __tablename__ = "humans"
    __indexes__ = (
        Unique("humans_email_key", "email_key", raises=EmailTaken),
        Index("idx_humans_created", desc("created_at"), desc("id")),
    )

    id: OwnKey
    email: Annotated[Personal[str], Text(254)]
    name: Personal[str | None]
    face: Personal[bytes | None]
    points: int
    created_at: CreatedAt
    version: Version
    email_key: Annotated[bytes, Blind("email", folded)] = b""
    name_key: Annotated[bytes | None, Blind("name", folded)] = None


class Letter(Entity, frozen=True):
    __tablename__ = "letters"

    id: Key
    human_id: Owner
    text: Personal[str | None]
    title: str


class Humans(Repository[Human]):
    by_id = one(select(Human).where(Human.c.id == param("id")))
    by_email = one(select(Human).where(Human.c.email_key == blind("email")))
    named = many(select(Human).where(Human.c.name_key == blind("name"), Human.c.points >= param("points")))
    nameless = many(select(Human).where(Human.c.name.is_(None)))
    recent = page(select(Human), newest_first=Human.c.created_at)
    some = many(select(Human).where(Human.c.id == any_(param("ids", list[UUID]))).order_by(Human.c.created_at))
    reward = change(update(Human).where(Human.c.email_key == blind("email")).values(points=Human.c.points + 1).returning(*Human.c))


class Letters(Repository[Letter]):
    by_id = one(select(Letter).where(Letter.c.id == param("id")))
    all = many(select(Letter).order_by(Letter.c.title))


humans, letters = Humans(), Letters()


def human(email: str = "ann@example.com", **changed: Any) -> Human:
    made = Human(uuid4(), email, "Ann", b"\x00\xff", 0, SystemClock().now(), 1)
    return msgspec.structs.replace(made, **changed)


def letter(of: UUID, text: str | None = "dear diary", title: str = "a") -> Letter:
    return Letter(uuid4(), of, text, title)


async def born(database: Database, *people: Human) -> None:
    async with database.unit(SYSTEM) as unit:
        await humans.add_all(unit, people)


async def kept(database: Database, *texts: Letter) -> None:
    async with database.unit(SYSTEM) as unit:
        await letters.add_all(unit, texts)
