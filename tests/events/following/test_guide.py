"""The guide's snippets, as they stand, over a database that forgets the test."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from fortress.bootstrap.container import Container
from fortress.data import Database
from fortress.events.following import FactKinds
from fortress.fact import decoded, encoded
from fortress.testing.subscribers import Subscribers

GUIDE: Final = Path(__file__).parents[3] / "docs" / "guide-facts.md"


async def test_the_snippets_run_and_do_what_the_guide_says(services: Container, rolled_back: Database) -> None:
    names: dict[str, Any] = {"__name__": "parcels.handlers"}
    for snippet in re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL):
        exec(compile(snippet, str(GUIDE), "exec", dont_inherit=True), names)
    kinds = FactKinds([names["ParcelSent"], names["ParcelWeighed"]])
    subscribers = Subscribers([names["note_weight"]], kinds, lambda: services)
    await subscribers.begin()
    await names["test_the_weight_is_noted"](services, subscribers.settle)
    rows = await rolled_back.run("SELECT action, detail::text AS detail FROM audit_log WHERE action LIKE 'parcels.%'")
    assert [(row["action"], row["detail"]) for row in rows] == [
        ("parcels.noted", '{"weight": "1.20", "subscriber": "parcels.note_weight"}')
    ]
    weighed = names["ParcelWeighed"]
    old = b'{"parcel_id": "01890000-0000-7000-8000-000000000001", "pounds": 2}'
    assert decoded(weighed, old, 1).grams == 907
    assert encoded(names["ParcelSent"](parcel_id=uuid4(), weight=Decimal(1)))
