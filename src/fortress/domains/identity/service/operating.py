"""Accounts and keys as an operator's shell works on them: as the system."""

from __future__ import annotations

from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database, PageQuery
from fortress.data.pages import LARGEST
from fortress.domains.identity.contract import UnknownKey, UnknownUser, UserStatus
from fortress.domains.identity.repository import ApiKeyRepository, UserRepository
from fortress.domains.identity.service.accounts import AccountService
from fortress.domains.identity.service.factor_reset import FactorReset
from fortress.domains.identity.service.persons import PersonalExport, PersonService
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.identity.service.views import KeyView, UserView, key_view, user_view
from fortress.security import SYSTEM


class AccountOperations:
    """What `fortress user` and `fortress apikey` ask for."""

    def __init__(
        self,
        database: Database,
        accounts: AccountService,
        users: UserRepository,
        keys: ApiKeyRepository,
        persons: PersonService,
        factors: FactorReset,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._users = users
        self._keys = keys
        self._persons = persons
        self._factors = factors
        self._revocations = revocations
        self._clock = clock

    async def find_person(self, who: str) -> UUID:
        """The person of this id or e-mail address. Raises UnknownUser."""
        reader = self._database.reader(SYSTEM)
        try:
            found = await self._users.by_id.maybe(reader, id=UUID(who))
        except ValueError:
            found = await self._users.by_email.maybe(reader, email=who)
        if found is None:
            raise UnknownUser
        return found.id

    async def newest_accounts(self, most: int) -> list[UserView]:
        """The newest so many."""
        found: list[UserView] = []
        cursor: str | None = None
        while len(found) < most:
            page = await self._accounts.recent(PageQuery(min(LARGEST, most - len(found)), cursor), SYSTEM)
            found += map(user_view, page.items)
            cursor = page.next
            if cursor is None:
                break
        return found

    async def account_of(self, person: UUID) -> UserView:
        """The account of this person. Raises NotFound."""
        return user_view(await self._accounts.read(person, SYSTEM))

    async def disable_account(self, person: UUID) -> UserView:
        """Disable it. Raises as `AccountService.set_status` does."""
        return user_view(await self._accounts.set_status(person, UserStatus.DISABLED, SYSTEM))

    async def enable_account(self, person: UUID) -> UserView:
        """Enable it. Raises as `AccountService.set_status` does."""
        return user_view(await self._accounts.set_status(person, UserStatus.ACTIVE, SYSTEM))

    async def reset_factors(self, person: UUID) -> None:
        """Take every second factor from it. Raises NotFound and NoSecondFactor."""
        await self._factors.reset(person, SYSTEM)

    async def export_person(self, person: UUID) -> PersonalExport:
        """Everything that is kept of this person. Raises NotFound."""
        return await self._persons.export(person, SYSTEM)

    async def erase_person(self, person: UUID) -> None:
        """Forget this person. Raises NotFound and LastAdministrator."""
        await self._persons.erase(person, SYSTEM)

    async def keys_of_person(self, person: UUID) -> list[KeyView]:
        """The keys of this person that are not revoked, newest first."""
        found: list[KeyView] = []
        cursor: str | None = None
        while True:
            page = await self._keys.of_user(self._database.reader(SYSTEM), query=PageQuery(LARGEST, cursor), user=person)
            found += map(key_view, page.items)
            cursor = page.next
            if cursor is None:
                return found

    async def revoke_key_of_person(self, person: UUID, key: UUID) -> None:
        """End a key; refused on every process within a second. Raises UnknownKey."""
        async with self._database.unit(SYSTEM) as unit:
            if not await self._keys.revoke(unit, id=key, user=person, now=self._clock.now()):
                raise UnknownKey
            unit.audit("api_keys.revoked", target=key)
            self._revocations.key(unit, key)
