"""Sessions: seeing where one is signed in, signing out (ASVS V7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database, Page, PageQuery, Unit
from fortress.domains.identity.contract import UnknownSession
from fortress.domains.identity.models import EndedBy, Session
from fortress.domains.identity.repository import SessionRepository, UserRepository
from fortress.domains.identity.service.pairs import owner_of
from fortress.domains.identity.service.revocations import Revocations
from fortress.security import SYSTEM, Principal
from fortress.security.principal import NOBODY

_KEPT_AFTER_END: Final = timedelta(days=30)
_ROUNDS: Final = 100


class SessionService:
    """The sessions that there are."""

    def __init__(
        self, database: Database, users: UserRepository, sessions: SessionRepository, revocations: Revocations, clock: Clock
    ) -> None:
        self._database = database
        self._users = users
        self._sessions = sessions
        self._revocations = revocations
        self._clock = clock

    async def sign_out(self, caller: Principal) -> None:
        """End the caller's session; its tokens are refused on every process within a second."""
        if caller.session is None:
            return
        async with self._database.unit(caller) as unit:
            if await self._end(unit, caller.session, caller, EndedBy.SIGN_OUT):
                unit.audit("auth.signed_out", target=caller.session)

    async def recent(self, query: PageQuery, caller: Principal) -> Page[Session]:
        """One's own living sessions, newest first."""
        return await self._sessions.of_user(self._database.reader(caller), query=query, user=caller.id, now=self._clock.now())

    async def end(self, id: UUID, caller: Principal) -> None:
        """End one of one's own sessions.

        Raises:
            NotFound: it is not there, not one's own, or has ended.
        """
        async with self._database.unit(caller) as unit:
            if not await self._end(unit, id, caller, EndedBy.OWNER):
                raise UnknownSession
            unit.audit("sessions.ended", target=id)

    async def end_others(self, caller: Principal) -> None:
        """End every session of the caller's but the one that asks (ASVS V7.4.3)."""
        async with self._database.unit(caller) as unit:
            await self._end_all(unit, caller.id, caller.session or NOBODY, EndedBy.OWNER)
            unit.audit("sessions.others_ended", target=caller.id)

    async def end_all_of(self, user: UUID, by: Principal) -> None:
        """End every session of somebody (ASVS V7.4.5).

        Raises:
            NotFound: nobody of this id.
        """
        async with self._database.unit(by) as unit:
            await self._users.by_id(unit, id=user)
            await self._end_all(unit, user, NOBODY, EndedBy.ADMINISTRATOR)
            unit.audit("sessions.ended_by_administrator", target=user)

    async def end_replaced(self, id: UUID) -> None:
        """End a session whose browser has another one now."""
        state = await self._sessions.state.maybe(self._database.reader(SYSTEM), id=id)
        if state is None:
            return
        owner = owner_of(id, state.user_id)
        async with self._database.unit(owner) as unit:
            if await self._end(unit, id, owner, EndedBy.SIGN_OUT):
                unit.audit("sessions.replaced", target=id)

    async def forget_ended(self) -> int:
        """Delete sessions that ended more than 30 days ago; how many there were."""
        before, gone = self._clock.now() - _KEPT_AFTER_END, 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                forgotten = await self._sessions.forget(unit, before=before)
            gone += forgotten
            if not forgotten:
                break
        return gone

    async def _end_all(self, unit: Unit, user: UUID, kept: UUID, ended_by: EndedBy) -> None:
        await self._sessions.end_others(unit, user=user, kept=kept, now=self._clock.now(), ended_by=ended_by)
        # Whoever is remembered is asked for anew: the session that stays costs one look, the others are gone.
        self._revocations.user(unit, user)

    async def _end(self, unit: Unit, id: UUID, caller: Principal, ended_by: EndedBy) -> bool:
        ended = await self._sessions.end(unit, id=id, user=caller.id, now=self._clock.now(), ended_by=ended_by)
        self._revocations.session(unit, id)
        return bool(ended)
