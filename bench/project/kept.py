"""The same small answer as the constant's, and a page of fifty, from cached queries."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from bench.project.people import PlainPerson
from bench.project.routes import CONSTANT, USUAL_LIMIT, Constant
from fortress.cache import cached
from fortress.data import Database, Page, PageQuery, Repository, func, one, page, param, select
from fortress.http import get, per_minute
from fortress.security import Principal

NAME: Final = "Person 1"


class Listed(msgspec.Struct, frozen=True):
    """A person in a list."""

    id: UUID
    name: str | None
    created_at: datetime


class KeptPeople(Repository[PlainPerson]):
    """Questions whose answers are kept."""

    constant = cached(
        one(
            select(PlainPerson.c.name, func.length(PlainPerson.c.email).label("answer")).where(PlainPerson.c.name == param("name")),
            into=Constant,
        ),
        seconds=3600,
    )
    listed = cached(
        page(select(PlainPerson.c.id, PlainPerson.c.name, PlainPerson.c.created_at), into=Listed, newest_first=PlainPerson.c.created_at),
        seconds=3600,
    )


class KeptService:
    """Asks them."""

    def __init__(self, database: Database, people: KeptPeople) -> None:
        self._database = database
        self._people = people

    async def constant(self, caller: Principal) -> Constant:
        return await self._people.constant(self._database.reader(caller), name=NAME)

    async def listed(self, query: PageQuery, caller: Principal) -> Page[Listed]:
        return await self._people.listed(self._database.reader(caller), query=query)


@get("/bench/kept/constant", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))
async def kept_constant(people: KeptService, principal: Principal) -> Constant:
    """As small as the constant."""
    return await people.constant(principal)


@get("/bench/kept/people", allow=CONSTANT, limit=per_minute(USUAL_LIMIT))
async def kept_people(query: PageQuery, people: KeptService, principal: Principal) -> Page[Listed]:
    """A page of people."""
    return await people.listed(query, principal)
