"""Sessions: seeing where one is signed in, signing out (ASVS V7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database, Page, PageQuery, Unit
from fortress.domains.identity.contract import UnknownSession
from fortress.domains.identity.models import EndedBy, Session
from fortress.domains.identity.repository import SessionRepository
from fortress.domains.identity.service.revocations import Revocations
from fortress.security import SYSTEM, Principal

_KEPT_AFTER_END: Final = timedelta(days=30)
_ROUNDS: Final = 100


class SessionService:
    """The sessions that there are."""

    def __init__(self, database: Database, sessions: SessionRepository, revocations: Revocations, clock: Clock) -> None:
        self._database = database
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

    async def _end(self, unit: Unit, id: UUID, caller: Principal, ended_by: EndedBy) -> bool:
        ended = await self._sessions.end(unit, id=id, user=caller.id, now=self._clock.now(), ended_by=ended_by)
        self._revocations.session(unit, id)
        return bool(ended)
