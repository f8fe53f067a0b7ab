from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import pytest

from fortress.data import AuditEntry, CreatedAt, Entity, Index, Key, Owner, References, Unique, Version, desc
from fortress.data.columns import Mark
from fortress.data.migration import Branch, Migrations, Phase
from fortress.data.migration.check import check_migrations
from fortress.data.migration.draft import draft_migration
from fortress.errors import CannotStart

Write = Callable[..., Path]


class Status(StrEnum):
    OPEN = "open"
    PAID = "paid"


class Basket(Entity, frozen=True):
    """What somebody is about to buy."""

    __tablename__ = "baskets"

    id: Key
    user_id: Owner
    status: Status
    created_at: CreatedAt
    version: Version


class IndexedBasket(Entity, frozen=True):
    """The same, found by its owner."""

    __tablename__ = "baskets"
    __indexes__ = (Index("idx_baskets_user", "user_id", desc("created_at")), Unique("uq_baskets_user", "user_id", where="status = 'open'"))

    id: Key
    user_id: Owner
    status: Status
    created_at: CreatedAt
    version: Version


class Item(Entity, frozen=True):
    """One thing in a basket."""

    __tablename__ = "basket_items"

    id: Key
    basket_id: Annotated[UUID, References("baskets.id", "CASCADE")]
    note: str | None


class Visit(Entity, frozen=True):
    """Somebody looked; cut by month."""

    __tablename__ = "visits"
    __partition_by__ = "at"

    id: Key
    at: datetime


class Seal(Entity, frozen=True):
    """Numbered by whoever makes it."""

    __tablename__ = "seals"

    number: Annotated[int, Mark.KEY]


def branch(orders: Branch, *entities: type[Entity]) -> Branch:
    return Branch("orders", orders.directory, [entity.table for entity in entities])


async def test_a_draft_makes_what_the_models_declare(owner_url: str, orders: Branch) -> None:
    shop = branch(orders, Item, Basket, Visit, AuditEntry, Seal)
    path = await draft_migration(Migrations(owner_url, [shop]), "orders", "Create the shop!", Phase.PRE)
    assert path == orders.directory / "orders_0001_pre_create_the_shop.py"
    assert 'branch_labels = ("orders",)' in path.read_text()
    assert 'create_default_partition("visits")' in path.read_text()
    assert await Migrations(owner_url, [shop]).up() == ["orders_0001_pre_create_the_shop"]
    assert await check_migrations(owner_url, [shop]) == []


async def test_indexes_on_a_table_that_is_there_come_concurrently_and_by_themselves(owner_url: str, orders: Branch) -> None:
    before, after = branch(orders, Basket), branch(orders, IndexedBasket, Visit)
    await draft_migration(Migrations(owner_url, [before]), "orders", "create", Phase.PRE)
    await Migrations(owner_url, [before]).up()
    first = await draft_migration(Migrations(owner_url, [after]), "orders", "visits", Phase.PRE)
    assert "CONCURRENTLY" not in first.read_text().upper()
    await Migrations(owner_url, [after]).up()
    second = await draft_migration(Migrations(owner_url, [after]), "orders", "find by user", Phase.PRE)
    assert 'create_index_concurrently("idx_baskets_user", "baskets", "(user_id, created_at DESC)")' in second.read_text()
    assert """"(user_id) WHERE status = 'open'", unique=True)""" in second.read_text()
    assert 'drop_index_concurrently("idx_baskets_user")' in second.read_text()
    await Migrations(owner_url, [after]).up()
    assert await check_migrations(owner_url, [after]) == []


async def test_a_draft_without_a_difference_does_nothing(owner_url: str, orders: Branch, write: Write) -> None:
    write("orders_0001_pre_create", "CREATE TABLE somebody_elses (id UUID)")
    await Migrations(owner_url, [orders]).up()
    path = await draft_migration(Migrations(owner_url, [orders]), "orders", "fill in", Phase.POST)
    assert path.name == "orders_0002_post_fill_in.py"
    assert 'down_revision = "orders_0001_pre_create"' in path.read_text()
    assert path.read_text().count("    pass\n") == 2


@pytest.mark.parametrize(
    ("domain", "words", "wanted"),
    [
        ("orders", "more", "orders_0001_pre_create is not applied yet"),
        ("payments", "more", "no branch payments"),
        ("orders", "…", "few words"),
    ],
)
async def test_a_draft_is_refused(owner_url: str, orders: Branch, write: Write, domain: str, words: str, wanted: str) -> None:
    write("orders_0001_pre_create")
    with pytest.raises(CannotStart, match=wanted):
        await draft_migration(Migrations(owner_url, [orders]), domain, words, Phase.PRE)
