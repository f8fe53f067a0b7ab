"""What this domain keeps of a person: their account, and all that came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fortress.data import Database, Unit
from fortress.domain import PersonalRecords
from fortress.domains.identity.repository import (
    ApiKeyRepository,
    DeviceRepository,
    EmailChangeRepository,
    IdentityRepository,
    MailedTokenRepository,
    ProviderFlowRepository,
    SessionRepository,
    UserRepository,
)
from fortress.domains.identity.service.factor_records import FactorRecords
from fortress.domains.identity.service.providers.views import held_view
from fortress.domains.identity.service.views import device_view, email_change_view, key_view, session_view, user_view
from fortress.security import SYSTEM


class IdentityRecords(PersonalRecords):
    """The account and all that came of it; the rows go with the person."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        sessions: SessionRepository,
        keys: ApiKeyRepository,
        tokens: MailedTokenRepository,
        changes: EmailChangeRepository,
        devices: DeviceRepository,
        identities: IdentityRepository,
        flows: ProviderFlowRepository,
        factors: FactorRecords,
    ) -> None:
        self._database = database
        self._factors = factors
        self._users = users
        self._sessions = sessions
        self._keys = keys
        self._tokens = tokens
        self._changes = changes
        self._devices = devices
        self._identities = identities
        self._flows = flows

    async def export(self, person: UUID) -> Mapping[str, Sequence[Any]]:
        """All that is kept; of keys their beginnings, of devices when they were seen, and no hash of anything."""
        reader = self._database.reader(SYSTEM)
        user = await self._users.by_id.maybe(reader, id=person)
        sessions = await self._sessions.of_person(reader, person=person)
        keys = await self._keys.of_person(reader, person=person)
        change = await self._changes.of_person.maybe(reader, person=person)
        devices = await self._devices.of_person(reader, person=person)
        identities = await self._identities.of_user(reader, user=person)
        return {
            "accounts": [] if user is None else [user_view(user)],
            "sessions": [session_view(session, None) for session in sessions],
            "api_keys": [key_view(key) for key in keys],
            "email_changes": [] if change is None else [email_change_view(change)],
            "devices": [device_view(device) for device in devices],
            "identities": [held_view(identity) for identity in identities],
            **await self._factors.export(reader, person),
        }

    async def erase(self, unit: Unit, person: UUID) -> None:
        """All of it."""
        await self._keys.erase(unit, person=person)
        await self._sessions.erase(unit, person=person)
        await self._tokens.erase(unit, person=person)
        await self._changes.erase(unit, person=person)
        await self._devices.erase(unit, person=person)
        await self._identities.erase(unit, person=person)
        await self._flows.erase(unit, person=person)
        await self._factors.erase(unit, person)
        await self._users.erase(unit, person=person)
