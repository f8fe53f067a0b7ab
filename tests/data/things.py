"""What the tests of units write: things, their parts, and a fact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import msgspec

from fortress.data import (
    AuditEntry,
    Check,
    Database,
    Entity,
    EventEntry,
    Key,
    Owner,
    References,
    Repository,
    Unique,
    Unit,
    Version,
    change,
    func,
    many,
    one,
    param,
    select,
    update,
)
from fortress.errors import Conflict
from fortress.events import Fact
from fortress.security.permissions import Method
from fortress.security.principal import SYSTEM, Principal

if TYPE_CHECKING:
    pass


class NameTaken(Conflict):
    """That name is somebody's."""

    code = "things.name_taken"


class TooMany(Conflict):
    """So many are not allowed."""

    code = "things.too_many"


class Thing(Entity, frozen=True):
    __tablename__ = "things"
    __indexes__ = (
        Unique("uq_things_name", "name", raises=NameTaken),
        Unique("uq_things_place", ("place",)),
        Check("ck_things_many", "amount <= 100", raises=TooMany),
        Check("ck_things_few", "amount >= 0"),
    )
    id: Key
    owner_id: Owner
    name: str
    place: int | None
    amount: int
    version: Version


class Part(Entity, frozen=True):
    __tablename__ = "parts"
    id: Key
    thing_id: Annotated[UUID, References("things.id")]
    number: int


class ThingMade(Fact, frozen=True):
    thing_id: UUID
    name: str


class Things(Repository[Thing]):
    by_id = one(select(Thing).where(Thing.c.id == param("id")))
    locked = one(select(Thing).where(Thing.c.id == param("id")).with_for_update())
    all = many(select(Thing).order_by(Thing.c.name))
    count = one(select(func.count()).select_from(Thing.table), into=int)
    amounts = one(select(func.coalesce(func.sum(Thing.c.amount), 0)), into=int)
    take = change(
        update(Thing)
        .where(Thing.c.id == param("id"), Thing.c.amount >= param("amount"))
        .values(amount=Thing.c.amount - param("amount"))
        .returning(*Thing.c)
    )


class Parts(Repository[Part]):
    all = many(select(Part).order_by(Part.c.number))


class Audits(Repository[AuditEntry]):
    all = many(select(AuditEntry).order_by(AuditEntry.c.tx, AuditEntry.c.seq))


class Events(Repository[EventEntry]):
    all = many(select(EventEntry).order_by(EventEntry.c.tx, EventEntry.c.seq))


KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'fortress' AND datname = current_database()
"""
ME = Principal(uuid4(), Method.SESSION, session=uuid4())
things, parts, audits, events = Things(), Parts(), Audits(), Events()


def thing(name: str = "thing", **changed: Any) -> Thing:
    return msgspec.structs.replace(Thing(uuid4(), ME.id, name, None, 10, 1), **changed)


async def kept(database: Database) -> int:
    reader = database.reader(SYSTEM)
    return await things.count(reader) + len(await audits.all(reader)) + len(await events.all(reader))


async def everything(database: Database, unit: Unit, made: Thing) -> None:
    await things.add(unit, made)
    await parts.add_all(unit, [Part(uuid4(), made.id, number) for number in range(3)])
    unit.record(ThingMade(made.id, made.name))
    unit.audit("things.made", target=made.id, detail={"parts": 3})
    unit.notify("things:made")
