"""People whose names and addresses are encrypted, and the same people in plain columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from uuid import UUID

import msgspec

from bench.project.routes import CONSTANT, USUAL_LIMIT
from fortress import Clock, Ids, PersonalRecords
from fortress.data import (
    Blind,
    CreatedAt,
    Database,
    Entity,
    Index,
    OwnKey,
    Page,
    PageQuery,
    Personal,
    Repository,
    Unit,
    change,
    delete,
    desc,
    one,
    page,
    param,
    select,
)
from fortress.http import get, per_minute
from fortress.security import SYSTEM, Principal

COUNT: Final = 100


class SealedPerson(Entity, frozen=True):
    """As identity keeps people."""

    __tablename__ = "bench_sealed_people"
    __indexes__ = (Index("idx_bench_sealed_people_created", desc("created_at"), desc("id")),)

    id: OwnKey
    email: Personal[str]
    name: Personal[str | None]
    created_at: CreatedAt
    email_key: Annotated[bytes, Blind("email", str.casefold)] = b""


class PlainPerson(Entity, frozen=True):
    """The same with nothing encrypted."""

    __tablename__ = "bench_plain_people"
    __indexes__ = (Index("idx_bench_plain_people_created", desc("created_at"), desc("id")),)

    id: OwnKey
    email: str
    name: str | None
    created_at: CreatedAt
    email_key: bytes


class PersonView(msgspec.Struct, frozen=True):
    """What is shown of either."""

    id: UUID
    email: str
    name: str | None


class SealedPeople(Repository[SealedPerson]):
    recent = page(select(SealedPerson), newest_first=SealedPerson.c.created_at)
    by_id = one(select(SealedPerson).where(SealedPerson.c.id == param("id")))
    forget = change(delete(SealedPerson).where(SealedPerson.c.id == param("id")))


class PlainPeople(Repository[PlainPerson]):
    recent = page(select(PlainPerson), newest_first=PlainPerson.c.created_at)


class PeopleRecords(PersonalRecords):
    """What is kept of one of them."""

    def __init__(self, database: Database, sealed: SealedPeople) -> None:
        self._database = database
        self._sealed = sealed

    async def export(self, person: UUID) -> Mapping[str, Sequence[PersonView]]:
        found = await self._sealed.by_id.maybe(self._database.reader(SYSTEM), id=person)
        return {"people": [] if found is None else [PersonView(found.id, found.email, found.name)]}

    async def erase(self, unit: Unit, person: UUID) -> None:
        await self._sealed.forget(unit, id=person)


class PeopleService:
    """Reads them, page by page."""

    def __init__(self, database: Database, sealed: SealedPeople, plain: PlainPeople) -> None:
        self._database = database
        self._sealed = sealed
        self._plain = plain

    async def sealed(self, query: PageQuery, caller: Principal) -> Page[PersonView]:
        return _shown(await self._sealed.recent(self._database.reader(caller), query=query))

    async def plain(self, query: PageQuery, caller: Principal) -> Page[PersonView]:
        return _shown(await self._plain.recent(self._database.reader(caller), query=query))


async def make_people(database: Database, sealed: SealedPeople, plain: PlainPeople, clock: Clock, ids: Ids) -> None:
    """The same people in both tables, unless they are there."""
    if (await plain.recent(database.reader(SYSTEM), query=PageQuery(limit=1))).items:
        return
    async with database.unit(SYSTEM) as unit:
        for number in range(COUNT):
            id, email, name, now = ids.new(), f"person{number}@example.com", f"Person {number}", clock.now()
            await sealed.add(unit, SealedPerson(id, email, name, now))
            await plain.add(unit, PlainPerson(id, email, name, now, bytes(32)))


@get("/bench/people/sealed", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))
async def list_sealed(query: PageQuery, people: PeopleService, principal: Principal) -> Page[PersonView]:
    """A page of encrypted people."""
    return await people.sealed(query, principal)


@get("/bench/people/plain", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))
async def list_plain(query: PageQuery, people: PeopleService, principal: Principal) -> Page[PersonView]:
    """A page of people in plain columns."""
    return await people.plain(query, principal)


def _shown(found: Page[SealedPerson] | Page[PlainPerson]) -> Page[PersonView]:
    return Page([PersonView(one.id, one.email, one.name) for one in found.items], found.next)
