"""What this domain keeps of a person: which roles they hold, and what of these they have used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from fortress.data import Database, Unit
from fortress.domain import PersonalRecords
from fortress.domains.access.contract import NotAHolder
from fortress.domains.access.repository import PermissionUses, RoleHolders
from fortress.domains.access.service.assigning import AccessService
from fortress.domains.access.service.holdings import assigned
from fortress.security import SYSTEM


class AccessRecords(PersonalRecords):
    """A person's roles and uses; both go with the person."""

    def __init__(self, database: Database, holders: RoleHolders, uses: PermissionUses, access: AccessService) -> None:
        self._database = database
        self._holders = holders
        self._uses = uses
        self._access = access

    async def export(self, person: UUID) -> Mapping[str, Sequence[Any]]:
        """The roles that they were given, with their ends, and on which day they last used what."""
        reader = self._database.reader(SYSTEM)
        held = await self._holders.held.maybe(reader, person=person)
        return {"roles": assigned(held) if held else (), "uses": await self._uses.of_person(reader, person=person)}

    async def erase(self, unit: Unit, person: UUID) -> None:
        """Their roles and uses. Raises LastAdministrator: nobody else could administer."""
        with suppress(NotAHolder):
            await self._access.leave(unit, person)
