"""Where people's mail goes."""

from __future__ import annotations

from uuid import UUID

from fortress.data import Database
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.repository import UserRepository
from fortress.domains.notifications.contract import AddressBook, Recipient
from fortress.security import SYSTEM


class Addresses(AddressBook):
    """People's addresses, for those who send mail."""

    def __init__(self, database: Database, users: UserRepository) -> None:
        self._database = database
        self._users = users

    async def recipient(self, person: UUID) -> Recipient | None:
        user = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=person)
        return None if user is None else Recipient(user.email, user.name, user.status is UserStatus.ACTIVE)
