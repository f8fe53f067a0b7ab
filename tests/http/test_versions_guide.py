"""The guides to versions and to long lists: their snippets, as they stand, served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from fortress import Domain, Fortress
from fortress.domains import standard
from fortress.settings import Settings
from fortress.testing.callers import Callers
from fortress.testing.client import Client
from fortress.testing.plugin import ADMIN, ADMIN_PASSWORD
from shop.orders.manifest import orders

DOCS: Final = Path(__file__).parents[2] / "docs"


def snippets(guide: str) -> dict[str, Any]:
    """What the guide's snippets define, run in their order."""
    names: dict[str, Any] = {"__name__": "guide"}
    for snippet in re.findall(r"```python\n(.*?)```", (DOCS / guide).read_text("utf-8"), re.DOTALL):
        exec(compile(snippet, guide, "exec", dont_inherit=True), names)
    return names


async def test_both_versions_are_served_as_the_guide_says(settings: Settings) -> None:
    app = Fortress(domains=[*standard, orders, snippets("guide-versions.md")["parcels"]], version=2).with_settings(settings)
    await app.start()
    try:
        client = Client(app, base="/api")
        old = await client.post("/v1/parcels", {"kilograms": 1.5})
        new = await client.post("/v2/parcels", {"grams": 1500})
        assert (old.json(), new.json()) == ({"id": 1, "kilograms": 1.5}, {"id": 1, "grams": 1500})
        assert old.headers["link"] == '</api/v2/parcels>; rel="successor-version"'
        assert {"deprecation", "sunset"} <= set(old.headers)
        weighed = (await client.get("/v2/openapi.json")).json()["components"]["schemas"]["Weighed"]["properties"]
        assert (weighed["kilograms"].get("deprecated"), weighed["grams"].get("deprecated")) == (True, None)
    finally:
        await app.stop()


async def test_the_list_of_the_guide_is_exported(settings: Settings) -> None:
    names = snippets("guide-long-lists.md")
    exports = Domain(name="exports", routes=[names["export_all"]], services=[names["Exports"], names["Orders"]])
    app = Fortress(domains=[*standard, orders, exports], version=2).with_settings(settings)
    await app.start()
    try:
        client = Client(app)
        buyer = await Callers(client, ADMIN, ADMIN_PASSWORD).person()
        for _ in range(2):
            await client.post("/orders", {"items": [{"sku": "TEA-GREEN", "quantity": 1}]}, as_=buyer)
        exported = await client.get("/all-orders", as_=buyer)
        assert (exported.body, len(exported.body.splitlines())) == ((await client.get("/orders/export", as_=buyer)).body, 2)
    finally:
        await app.stop()


@pytest.mark.parametrize("guide", ["guide-versions.md", "guide-long-lists.md", "guide-clients.md"])
def test_the_readme_leads_there(guide: str) -> None:
    assert guide in (DOCS.parent / "README.md").read_text("utf-8")
