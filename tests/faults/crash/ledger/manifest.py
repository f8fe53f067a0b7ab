"""What the project is made of."""

from __future__ import annotations

from tests.faults.crash.ledger import handlers, rest
from tests.faults.crash.ledger.events import EntryMade
from tests.faults.crash.ledger.models import Effect, Entry
from tests.faults.crash.ledger.repository import EffectRepository, EntryRepository
from tests.faults.crash.ledger.service import LedgerService

from fortress import Domain, migrations_beside

ledger = Domain(
    name="ledger",
    services=[LedgerService, EntryRepository, EffectRepository],
    facts=[EntryMade],
    models=[Entry, Effect],
    routes=rest,
    handlers=handlers,
    migrations=migrations_beside(__name__),
)
