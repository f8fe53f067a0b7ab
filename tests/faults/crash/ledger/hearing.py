"""Another service, which hears of the ledger's entries; its inbox writes them to a log of its own."""

from __future__ import annotations

from tests.faults.crash.ledger.events import EntryMade

from fortress import Domain, Fortress
from fortress.domains import standard
from fortress.events import on


@on(EntryMade)
async def hear(fact: EntryMade) -> None:
    """Nothing more: what is looked at is the log."""


app = Fortress(title="Hearing", domains=[*standard, Domain(name="hearing", handlers=[hear])])
