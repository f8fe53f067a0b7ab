"""The one use case: an entry with its fact and its audit row, or nothing."""

from __future__ import annotations

from uuid import UUID

from tests.faults.crash.ledger.events import EntryMade
from tests.faults.crash.ledger.handlers import settle, settle_sour
from tests.faults.crash.ledger.models import Entry
from tests.faults.crash.ledger.repository import EntryRepository

from fortress import Clock, Conflict, Ids
from fortress.background import Background
from fortress.data import Database
from fortress.security import Principal


class Refused(Conflict):
    """The client asked to be refused after everything was written."""

    code = "ledger.refused"


class LedgerService:
    """Makes entries."""

    def __init__(self, database: Database, entries: EntryRepository, clock: Clock, ids: Ids, background: Background) -> None:
        self._database = database
        self._entries = entries
        self._clock = clock
        self._ids = ids
        self._background = background

    async def enter(self, account: UUID, number: int, caller: Principal, *, refuse: bool = False, sour: bool = False) -> Entry:
        """Make an entry; nobody can handle a sour one. Raises Refused when asked to, with everything written and nothing committed."""
        entry = Entry(self._ids.new(), account, number, self._clock.now())
        async with self._database.unit(caller) as unit:
            await self._entries.add(unit, entry)
            unit.record(EntryMade(account=account, number=number, sour=sour))
            unit.enqueue(settle_sour if sour else settle, account=account, number=number)
            unit.audit("ledger.entered", target=account, detail={"number": number})
            if refuse:
                await unit.flush()
                raise Refused
        return entry

    async def enter_later(self, account: UUID, number: int, caller: Principal) -> None:
        """What nobody should do: say that it is done, and do it afterwards."""
        self._background.start(self.enter(account, number, caller))
