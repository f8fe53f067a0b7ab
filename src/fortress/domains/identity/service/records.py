"""What this domain keeps of a person: their account, their sessions and their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fortress.data import Database, Unit
from fortress.domain import PersonalRecords
from fortress.domains.identity.repository import ApiKeyRepository, SessionRepository, UserRepository
from fortress.domains.identity.service.views import key_view, session_view, user_view
from fortress.security import SYSTEM


class IdentityRecords(PersonalRecords):
    """The account and all that came of it; the rows go with the person."""

    def __init__(self, database: Database, users: UserRepository, sessions: SessionRepository, keys: ApiKeyRepository) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._keys = keys

    async def export(self, person: UUID) -> Mapping[str, Sequence[Any]]:
        """The account, its sessions, ended ones included, and its API keys by their beginnings; no hash of anything."""
        reader = self._database.reader(SYSTEM)
        user = await self._users.by_id.maybe(reader, id=person)
        sessions = await self._sessions.of_person(reader, person=person)
        keys = await self._keys.of_person(reader, person=person)
        return {
            "accounts": [] if user is None else [user_view(user)],
            "sessions": [session_view(session, None) for session in sessions],
            "api_keys": [key_view(key) for key in keys],
        }

    async def erase(self, unit: Unit, person: UUID) -> None:
        """All three."""
        await self._keys.erase(unit, person=person)
        await self._sessions.erase(unit, person=person)
        await self._users.erase(unit, person=person)
