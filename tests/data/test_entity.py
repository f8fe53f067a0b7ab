"""An entity's annotations are its table."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from fortress.data import (
    Catalogue,
    Check,
    CreatedAt,
    Default,
    Entity,
    Generated,
    Index,
    Key,
    Numeric,
    Owner,
    OwnKey,
    References,
    Sql,
    Text,
    Unique,
    Version,
    desc,
)
from fortress.data.entity import shape_of
from fortress.errors import CannotStart, Conflict

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class BoxTaken(Conflict):
    """That box is somebody's."""


class Box(Entity, frozen=True):
    """A box."""

    __tablename__ = "boxes"
    __indexes__ = (
        Index("idx_boxes_owner", "owner_id", desc("created_at"), where="broken IS NULL"),
        Unique("uq_boxes_name", ("name", "size"), raises=BoxTaken),
        Check("ck_boxes_price", "price >= 0"),
    )

    id: Key
    owner_id: Owner
    name: Annotated[str, Text(80)]
    size: Size
    lid: Literal["open", "it's shut"]
    price: Annotated[Decimal, Numeric(12, 2)]
    weight: float
    broken: date | None
    kept: timedelta
    seal: bytes
    ready: bool
    labels: tuple[str, ...]
    sizes: list[Size] | None
    detail: dict[str, Any]
    parent: Annotated[UUID | None, References("boxes.id", "CASCADE")]
    colour: Annotated[str, Default("'brown'")]
    created_at: CreatedAt
    version: Version
    serial: Generated[int] = 0
    tx: Annotated[Generated[int], Sql("xid8"), Default("pg_current_xact_id()")] = 0


def ddl(entity: type[Entity]) -> list[str]:
    said = str(CreateTable(entity.table).compile(dialect=DIALECT))
    return [line.strip().rstrip(", ") for line in said.splitlines() if line.strip()]


@pytest.mark.parametrize(
    "line",
    [
        "id UUID NOT NULL",
        "owner_id UUID NOT NULL",
        "name TEXT NOT NULL",
        "price NUMERIC(12, 2) NOT NULL",
        "weight DOUBLE PRECISION NOT NULL",
        "broken DATE",
        "kept INTERVAL NOT NULL",
        "seal BYTEA NOT NULL",
        "ready BOOLEAN NOT NULL",
        "labels TEXT[] NOT NULL",
        "sizes TEXT[]",
        "detail JSONB NOT NULL",
        "parent UUID",
        "colour TEXT DEFAULT 'brown' NOT NULL",
        "created_at TIMESTAMP WITH TIME ZONE NOT NULL",
        "version BIGINT NOT NULL",
        "serial BIGINT GENERATED ALWAYS AS IDENTITY",
        "tx xid8 DEFAULT pg_current_xact_id() NOT NULL",
        "CONSTRAINT pk_boxes PRIMARY KEY (id)",
        'CONSTRAINT ck_boxes_name CHECK (char_length("name") <= 80)',
        "CONSTRAINT ck_boxes_size CHECK (\"size\" IN ('small', 'large'))",
        "CONSTRAINT ck_boxes_lid CHECK (\"lid\" IN ('open', 'it''s shut'))",
        "CONSTRAINT ck_boxes_price CHECK (price >= 0)",
    ],
)
def test_a_field_becomes_a_column(line: str) -> None:
    assert line in ddl(Box)


def test_a_reference_becomes_a_foreign_key() -> None:
    (key,) = Catalogue([Box]).metadata.tables["boxes"].foreign_keys
    assert (key.target_fullname, key.ondelete) == ("boxes.id", "CASCADE")


def test_indexes_are_made_as_declared() -> None:
    said = sorted(str(CreateIndex(index).compile(dialect=DIALECT)) for index in Box.table.indexes)
    assert said == [
        "CREATE INDEX idx_boxes_owner ON boxes (owner_id, created_at DESC) WHERE broken IS NULL",
        "CREATE UNIQUE INDEX uq_boxes_name ON boxes (name, size)",
    ]


def test_the_shape_knows_what_each_column_is_for() -> None:
    shape = shape_of(Box)
    assert (shape.key, shape.owner, shape.version, shape.partition) == ("id", "owner_id", "version", None)
    assert {one.name for one in shape.fields} - {one.name for one in shape.written} == {"serial", "tx"}
    assert {one.name for one in shape.written} - {one.name for one in shape.changed} == {"id", "created_at", "version"}
    assert shape.missing.code == "boxes.not_found"
    assert shape.exists.code == "boxes.exists"


def test_a_partitioned_entity_has_its_time_in_the_key() -> None:
    class Entry(Entity, frozen=True):
        __tablename__ = "entries"
        __partition_by__ = "at"
        id: Key
        at: datetime

    assert "CONSTRAINT pk_entries PRIMARY KEY (at, id)" in ddl(Entry)
    assert "PARTITION BY RANGE (at)" in ddl(Entry)


def test_a_person_may_own_themself() -> None:
    class Person(Entity, frozen=True):
        __tablename__ = "people"
        id: OwnKey

    assert (shape_of(Person).key, shape_of(Person).owner) == ("id", "id")


def test_a_repr_shows_the_key_and_nothing_else() -> None:
    class Secret(Entity, frozen=True):
        __tablename__ = "secrets"
        id: Key
        password: str

    key = UUID(int=7)
    assert repr(Secret(key, "hunter2")) == f"<Secret id={key}>"
    assert "hunter2" not in f"{Secret(key, 'hunter2')} {[Secret(key, 'hunter2')]}"


def test_an_entity_without_a_key_does_not_start() -> None:
    class Keyless(Entity, frozen=True):
        __tablename__ = "keyless"
        name: str

    with pytest.raises(CannotStart, match="has no Key"):
        shape_of(Keyless)


def test_an_entity_with_two_owners_does_not_start() -> None:
    class Shared(Entity, frozen=True):
        __tablename__ = "shared"
        id: Key
        mine: Owner
        yours: Owner

    with pytest.raises(CannotStart, match="more than one owner: mine, yours"):
        shape_of(Shared)


def test_an_entity_without_a_table_does_not_start() -> None:
    class Homeless(Entity, frozen=True):
        id: Key

    with pytest.raises(CannotStart, match="__tablename__"):
        shape_of(Homeless)


def test_a_partition_column_must_be_a_field() -> None:
    class Lost(Entity, frozen=True):
        __tablename__ = "lost"
        __partition_by__ = "at"
        id: Key

    with pytest.raises(CannotStart, match="partitioned by at"):
        shape_of(Lost)


def test_two_entities_of_one_table_do_not_start() -> None:
    class First(Entity, frozen=True):
        __tablename__ = "twice"
        id: Key

    class Second(Entity, frozen=True):
        __tablename__ = "twice"
        id: Key

    with pytest.raises(CannotStart, match="'twice' is declared twice"):
        Catalogue([First, Second])
    assert list(Catalogue([First, First]).entities) == ["twice"]
