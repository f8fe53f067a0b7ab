"""What the log holds of a person: handed out, never taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from fortress.data import Database, Unit
from fortress.domain import PersonalRecords
from fortress.domains.audit.repository import LogRepository
from fortress.domains.audit.service.reading import EntryView, entry_view
from fortress.security import SYSTEM


class AuditRecords(PersonalRecords):
    """A person's entries. The log is evidence and stays as it is; what is personal elsewhere is not repeated in it."""

    def __init__(self, database: Database, log: LogRepository) -> None:
        self._database = database
        self._log = log

    async def export(self, person: UUID) -> Mapping[str, Sequence[EntryView]]:
        """The newest 10,000 entries of what this person did or what was done to them."""
        entries = await self._log.about(self._database.reader(SYSTEM), person=person, target=str(person))
        return {"entries": [entry_view(entry) for entry in entries]}

    async def erase(self, unit: Unit, person: UUID) -> None:
        """Nothing: who did what, when and from where must remain provable (ASVS V16.2)."""
