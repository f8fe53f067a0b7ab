"""The guide's snippets, as they stand, on the shop's database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fortress.bootstrap.container import Container
from fortress.cache.caches import declared
from fortress.data import Database
from shop.orders.models import Product

GUIDE = Path(__file__).parents[2] / "docs" / "guide-cache.md"


async def test_the_snippets_run_and_are_kept(services: Container, rolled_back: Database) -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    for snippet in re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL):
        exec(compile(snippet, str(GUIDE), "exec", dont_inherit=True), names)
    shelf, summaries = names["Shelf"], names["Summaries"]
    assert (await summaries(rolled_back, shelf()).summary()).scarce >= 0
    found = declared([shelf, summaries], [Product])
    assert {plan.name for plan in (*found.queries.values(), *found.methods.values())} == {
        "Shelf.on_sale",
        "Shelf.by_id",
        "Shelf.scarce",
        "Summaries.summary",
    }
    assert found.tables == {"products"}
