"""The database that forgets each test: its units nest, wait for each other, and leave nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from fortress.bootstrap.container import Container
from fortress.clock import SystemClock, TimeOrderedIds
from fortress.data import Database, DatabaseFault, UnitFailed
from fortress.data.roles import APP_ROLE
from fortress.errors import Conflict, Unavailable
from fortress.security import SYSTEM
from fortress.settings import Settings
from fortress.testing.rollback import RolledBackDatabase
from shop.orders.models import Product
from shop.orders.repository import ProductRepository


@pytest.fixture
def products(services: Container) -> ProductRepository:
    return services.get(ProductRepository)


def a_product(sku: str) -> Product:
    clock = SystemClock()
    return Product(TimeOrderedIds(clock).new(), sku, "Something", Decimal("1.00"), 5, clock.now())


async def there(database: Database, *skus: str) -> list[str]:
    """Which of these a reader sees."""
    rows = await database.reader(SYSTEM).rows("SELECT sku FROM products WHERE sku = ANY($1) ORDER BY sku", [list(skus)])
    return [row["sku"] for row in rows]


class Stop(Exception):
    """Something that a use case did not foresee."""


@pytest.fixture
async def alone(service_database_url: str) -> AsyncIterator[RolledBackDatabase]:
    """A database of this kind without an app, whose units wait for nobody."""
    clock, settings = SystemClock(), Settings.model_validate({"database_wait": 0.2})
    made = RolledBackDatabase(service_database_url, settings, secret=bytes(32), clock=clock, ids=TimeOrderedIds(clock), role=APP_ROLE)
    async with made:
        yield made


async def add(database: Database, products: ProductRepository, *skus: str, then: type[Exception] | None = None) -> None:
    """One unit that adds products one by one, and may fail after them."""
    async with database.unit(SYSTEM) as unit:
        for sku in skus:
            await products.add(unit, a_product(sku))
            await unit.flush()
        if then is not None:
            raise then


async def test_what_was_written_is_there_in_the_test_and_nowhere_else(
    alone: Database, service_database_url: str, products: ProductRepository
) -> None:
    outside = await asyncpg.connect(service_database_url)
    await add(alone, products, "HERE")
    assert await there(alone, "HERE") == ["HERE"]
    for _ in range(2):
        assert await outside.fetchval("SELECT count(*) FROM products WHERE sku = 'HERE'") == 0
        await alone.close()
    await outside.close()


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_test_finds_nothing_of_the_one_before(rolled_back: Database, products: ProductRepository, turn: int) -> None:
    assert await there(rolled_back, "ONCE") == []
    async with rolled_back.unit(SYSTEM) as unit:
        await products.add(unit, a_product("ONCE"))
    assert await there(rolled_back, "ONCE") == ["ONCE"]


async def test_a_unit_that_fails_takes_back_only_its_own(rolled_back: Database, products: ProductRepository) -> None:
    await add(rolled_back, products, "KEPT")
    with pytest.raises(Stop):
        await add(rolled_back, products, "LOST", then=Stop)
    with pytest.raises(Conflict):
        await add(rolled_back, products, "LOST", "KEPT")
    assert await there(rolled_back, "KEPT", "LOST") == ["KEPT"]


async def test_a_unit_inside_a_unit_is_a_part_of_it(rolled_back: Database, products: ProductRepository) -> None:
    async with rolled_back.unit(SYSTEM) as outer:
        await products.add(outer, a_product("OUTER"))
        await outer.flush()
        with pytest.raises(Stop):
            await add(rolled_back, products, "INNER", then=Stop)
        assert await there(rolled_back, "OUTER", "INNER") == ["OUTER"]
        await add(rolled_back, products, "SECOND")
    assert await there(rolled_back, "OUTER", "INNER", "SECOND") == ["OUTER", "SECOND"]


async def test_a_failed_unit_can_be_read_around_and_does_no_more(rolled_back: Database) -> None:
    async def work() -> None:
        async with rolled_back.unit(SYSTEM) as unit:
            with pytest.raises(DatabaseFault):
                await unit.run("SELECT 1 / 0")
            assert await there(rolled_back, "NOTHING") == []
            await unit.run("SELECT 1")

    with pytest.raises(UnitFailed, match="nothing more"):
        await work()


async def test_what_reads_can_not_write_and_a_refused_read_harms_nothing(rolled_back: Database, products: ProductRepository) -> None:
    async with rolled_back.unit(SYSTEM) as unit:
        await products.add(unit, a_product("KEPT"))
    with pytest.raises(DatabaseFault, match="ReadOnly"):
        await rolled_back.reader(SYSTEM).rows("DELETE FROM products RETURNING sku", [])
    with pytest.raises(DatabaseFault):
        await rolled_back.run("SELECT 1 / 0")
    async with rolled_back.unit(SYSTEM) as unit:
        await products.add(unit, a_product("LATER"))
    assert await there(rolled_back, "KEPT", "LATER") == ["KEPT", "LATER"]


async def test_units_of_several_tasks_wait_for_each_other(rolled_back: Database) -> None:
    steps: list[str] = []

    async def work(name: str) -> None:
        async with rolled_back.unit(SYSTEM) as unit:
            await unit.run("SELECT 1")
            steps.append(f"{name} began")
            await unit.run("SELECT pg_sleep(0.01)")
            steps.append(f"{name} ended")

    await asyncio.gather(*(work(name) for name in "abc"), *(there(rolled_back, "X") for _ in range(5)))
    assert sorted(steps) == ["a began", "a ended", "b began", "b ended", "c began", "c ended"]
    assert all(steps[number][0] == steps[number + 1][0] for number in (0, 2, 4))


async def test_tasks_that_a_unit_starts_work_inside_it(rolled_back: Database, products: ProductRepository) -> None:
    skus = [f"SKU-{number}" for number in range(4)]

    async def work() -> None:
        async with rolled_back.unit(SYSTEM) as outer:
            await outer.run("SELECT 1")
            await asyncio.gather(*(add(rolled_back, products, sku) for sku in skus))
            assert await there(rolled_back, *skus) == skus
            raise Stop

    with pytest.raises(Stop):
        await work()
    assert await there(rolled_back, *skus) == []


async def test_a_cancelled_unit_is_taken_back_before_anything_else_happens(rolled_back: Database, products: ProductRepository) -> None:
    begun = asyncio.Event()

    async def stuck() -> None:
        async with rolled_back.unit(SYSTEM) as unit:
            await products.add(unit, a_product("CANCELLED"))
            await unit.flush()
            begun.set()
            await unit.run("SELECT pg_sleep(30)")

    task = asyncio.create_task(stuck())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await there(rolled_back, "CANCELLED") == []
    async with rolled_back.unit(SYSTEM) as unit:
        await products.add(unit, a_product("CANCELLED"))
    assert await there(rolled_back, "CANCELLED") == ["CANCELLED"]


async def test_a_unit_that_waits_for_one_inside_it_is_told(alone: Database, products: ProductRepository) -> None:
    async def work() -> None:
        async with alone.unit(SYSTEM) as outer:
            await outer.run("SELECT 1")
            async with alone.unit(SYSTEM) as inner:
                await products.add(inner, a_product("INNER"))
                await inner.flush()
                await outer.run("SELECT 1")

    with pytest.raises(Unavailable, match="inside it"):
        await work()
    assert await there(alone, "INNER") == []


async def test_a_unit_whose_outer_one_broke_off_can_not_commit(alone: Database, products: ProductRepository) -> None:
    async def work() -> None:
        async with alone.unit(SYSTEM) as outer:
            await outer.run("SELECT 1")
            async with alone.unit(SYSTEM) as inner:
                await inner.run("SELECT 1")
                with pytest.raises(Unavailable):
                    await outer.run("SELECT 1")

    with pytest.raises(UnitFailed, match="has ended"):
        await work()
    await add(alone, products, "LATER")
    assert await there(alone, "LATER") == ["LATER"]


async def test_round_trips_are_those_of_the_real_database(rolled_back: Database, products: ProductRepository) -> None:
    with rolled_back.counting() as count:
        async with rolled_back.unit(SYSTEM) as unit:
            await products.add(unit, a_product("ALONE"))
    assert count.round_trips == 1
    with rolled_back.counting() as count:
        async with rolled_back.unit(SYSTEM) as unit:
            await unit.run("SELECT 1")
            await unit.run("SELECT $1::text", str(uuid4()))
    assert count.round_trips == 4
