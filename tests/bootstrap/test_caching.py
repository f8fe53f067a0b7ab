"""The shop's list of products, kept by a running app and shown in its metrics."""

from __future__ import annotations

import pytest

from fortress import Fortress
from fortress.cache.shelf import Shelf
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from shop.orders.repository import ProductRepository

LIST = "/products?limit=5"


def shelf(app: Fortress) -> Shelf:
    assert app.runtime is not None
    (found,) = [one for one in app.runtime.caching.caches.shelves if one.plan.name == ProductRepository.on_sale.name]
    return found


async def test_a_list_is_kept_until_somebody_buys(running: Fortress, client: Client, callers: Callers) -> None:
    buyer = await callers.person()
    first = [(await client.get(LIST)).body for _ in range(3)]
    assert len(set(first)) == 1
    assert (shelf(running).loads, shelf(running).hits) == (1, 2)
    placed = await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}, as_=buyer)
    assert placed.status == 201
    assert len(shelf(running)) == 0
    await client.get(LIST, as_=buyer)
    page = (await client.get("/health/metrics", base="")).body.decode()
    for line in ("hits_total", "misses_total", "loads_total", "dropped_total", "stale_total", "entries"):
        assert f'fortress_cache_{line}{{cache="ProductRepository.on_sale"}}' in page
    assert "fortress_cache_bytes" in page


class TestWithoutRoom:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"cache_memory": 0})

    async def test_nothing_is_kept(self, running: Fortress, client: Client) -> None:
        for _ in range(3):
            assert (await client.get(LIST)).status == 200
        assert (shelf(running).misses, len(shelf(running))) == (0, 0)
        assert "fortress_cache_hits_total" not in (await client.get("/health/metrics", base="")).body.decode()
